"""Painted defects on images that are preprocessed for a network already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.random import Generator

from flawmap.runtime.image_types import Preprocessed
from flawmap.synthetic.defects import PAINTED_TYPES, paint_defect

_DefectMask = Float[np.ndarray, "_height _width"]


class PaintedPreprocessed(NamedTuple):
    """A preprocessed image with a painted defect.

    Args:
        image: (3, height, width), normalised.
        mask: (height, width), 1 where the defect is painted, 0 elsewhere.
    """

    image: Preprocessed
    mask: _DefectMask


def paint_preprocessed(
    image: Preprocessed,
    rng: Generator,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    defect_types: Sequence[str] = PAINTED_TYPES,
) -> PaintedPreprocessed:
    """A preprocessed image with a painted defect; where none was painted not a bit changes.

    Args:
        image: a good one.
        rng: all that the defect depends on besides the image.
        mean: of each channel, that the image was normalised with, on RGB in 0…1.
        std: of each channel, likewise.
        defect_types: to draw one from.

    Raises:
        OptionError: an image too small, an unknown type or none at all.

    >>> image = np.zeros((3, 64, 64), np.float32)
    >>> rng = np.random.default_rng(0)
    >>> painted = paint_preprocessed(image, rng, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), ["stain"])
    >>> bool((painted.image[:, painted.mask == 0] == 0).all())
    True
    """
    offset = np.asarray(mean, np.float32)[:, None, None]
    scale = np.asarray(std, np.float32)[:, None, None]
    grey_levels = np.clip(255 * (image * scale + offset), 0, 255)
    levels = np.rint(grey_levels).astype(np.uint8)
    pixels = np.ascontiguousarray(levels.transpose(1, 2, 0))
    painted = paint_defect(pixels, rng, defect_types)
    change = (painted.pixels.astype(np.float32) - pixels).transpose(2, 0, 1) / (255 * scale)
    changed = np.ascontiguousarray(image + change, np.float32)
    return PaintedPreprocessed(changed, painted.mask.astype(np.float32))
