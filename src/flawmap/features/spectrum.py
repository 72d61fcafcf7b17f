"""Which of GLASS's two hypotheses its spectrum rule chooses: whether parts look alike regularly."""

from __future__ import annotations

import math

import cv2
import numpy as np

from flawmap.runtime.image_types import ImageOrMap

_SPECTRUM_SIDE = 289
"""Side of the image whose spectrum is taken, in pixels."""

_BLUR = 39
"""Side of the box filter before it, in pixels."""

_BRIGHT_LEVEL = 170.0
"""Level of 20·ln|F| beyond which a point of the spectrum counts."""

_MIN_COUNT = 60
"""Number of bright points that the spectrum of a hypersphere exceeds."""

_MIN_RADIUS = 12.0
"""Distance from zero frequency, in points, that its farthest bright point exceeds."""

_MIN_DENSITY = 0.21
"""Fraction of the smallest disc or square around them that its bright points exceed."""


def is_hypersphere(mean_image: ImageOrMap) -> bool:
    """Whether the hypersphere hypothesis of GLASS suits a product, rather than the manifold.

    The rule of GLASS (Chen et al. 2024): grey, smoothed; log-magnitude spectrum 20·ln|F| with its
    middle at zero frequency; the points above 170; which fraction they fill of the smallest square
    or disc about the middle that holds them all.

    Args:
        mean_image: mean of the good images, (row, column, RGB), float32 in grey levels 0…255.

    >>> is_hypersphere(np.zeros((64, 64, 3), np.float32))
    False
    """
    size = (_SPECTRUM_SIDE, _SPECTRUM_SIDE)
    resized = cv2.resize(mean_image.astype(np.float32), size)
    grey = cv2.blur(cv2.cvtColor(resized, cv2.COLOR_RGB2GRAY), (_BLUR, _BLUR))
    spectrum = np.fft.fftshift(np.abs(np.fft.fft2(grey)))
    rows, columns = np.nonzero(20 * np.log(spectrum + 1e-9) > _BRIGHT_LEVEL)
    if len(rows) <= _MIN_COUNT:
        return False
    vertical = rows - _SPECTRUM_SIDE // 2
    horizontal = columns - _SPECTRUM_SIDE // 2
    half_side = int(np.maximum(np.abs(vertical), np.abs(horizontal)).max())
    radius = float(np.hypot(vertical, horizontal).max())
    square_area = (2 * half_side + 1) ** 2
    disc_area = math.pi * (radius + 0.5) ** 2
    density = len(rows) / min(square_area, disc_area)
    return density > _MIN_DENSITY and radius > _MIN_RADIUS
