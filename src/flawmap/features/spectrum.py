"""Whether parts look alike in a regular way.

Which of GLASS's two hypotheses its spectrum rule would choose.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from flawmap.runtime.preprocess import ImageOrMap

SPECTRUM_SIDE, BLUR, BRIGHT = 289, 39, 170.0
"""Image side and box filter side in pixels; level of 20·ln|F| beyond which a point counts."""

DENSITY, RADIUS, COUNT = 0.21, 12, 60
"""Points outside this radius: more than this fraction, and more than this number."""


def is_hypersphere(mean_image: ImageOrMap) -> bool:
    """Whether the mean good image's low frequencies fill a disc rather than a square.

    If they do, the hypersphere hypothesis of GLASS suits the product.

    The rule of GLASS (Chen et al. 2024): grey, smoothed; log-magnitude spectrum 20·ln|F| with its
    middle at zero frequency; the points above 170; their share of the smallest square or disc about
    the middle that holds them all.

    Args:
        mean_image: RGB, float32 in grey levels 0…255.
    """
    grey = cv2.cvtColor(
        cv2.resize(mean_image.astype(np.float32), (SPECTRUM_SIDE, SPECTRUM_SIDE)),
        cv2.COLOR_RGB2GRAY,
    )
    spectrum = np.fft.fftshift(np.abs(np.fft.fft2(cv2.blur(grey, (BLUR, BLUR)))))
    rows, columns = np.nonzero(20 * np.log(spectrum + 1e-9) > BRIGHT)
    if len(rows) <= COUNT:
        return False
    down, right = rows - SPECTRUM_SIDE // 2, columns - SPECTRUM_SIDE // 2
    half, radius = (
        int(np.maximum(np.abs(down), np.abs(right)).max()),
        float(np.hypot(down, right).max()),
    )
    density = len(rows) / min((2 * half + 1) ** 2, math.pi * (radius + 0.5) ** 2)
    return density > DENSITY and radius > RADIUS
