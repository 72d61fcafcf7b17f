"""Blending of drawn layers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from jaxtyping import Float32

FloatImage = Float32[np.ndarray, "..."]
"""Drawn in float32: (height, width), or with 3 channels in grey levels besides."""

Colour = tuple[int, int, int]
"""RGB in grey levels, under a light of 1."""


def alpha_blend(
    below: FloatImage, above: npt.NDArray[np.floating] | Colour, alpha: FloatImage
) -> FloatImage:
    """A layer under another one that covers a fraction of each pixel.

    Args:
        below: (height, width, 3), or a colour for all pixels.
        above: (height, width, 3), or a colour for all pixels; it covers `below`.
        alpha: (height, width), fraction of `above` in each pixel, 0…1.

    >>> black = np.zeros((1, 2, 3), np.float32)
    >>> alpha_blend(black, (100, 50, 0), np.array([[0, 0.5]], np.float32)).tolist()
    [[[0.0, 0.0, 0.0], [50.0, 25.0, 0.0]]]
    """
    change = np.asarray(above, np.float32) - below
    return np.asarray(below + change * alpha[..., None], np.float32)
