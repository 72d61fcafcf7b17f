"""Blending of drawn layers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatImage = npt.NDArray[
    np.float32
]  # SIDE × SIDE or CANVAS × CANVAS, × channels if there are several
Colour = tuple[int, int, int]  # RGB, grey levels under a light of 1


def alpha_blend(
    below: FloatImage, above: npt.NDArray[np.floating] | Colour, share: FloatImage
) -> FloatImage:
    """Cover what is below with a share (0..1 per pixel) of what is above."""
    return np.asarray(
        below + (np.asarray(above, np.float32) - below) * share[..., None], np.float32
    )
