"""Painted defects on images that are prepared for a network already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.random import Generator

from flawmap.runtime.preprocess import Preprocessed
from flawmap.synthetic.defects import PAINTED_TYPES, paint_defect

DefectMask = Float[np.ndarray, "_height _width"]
"""1 where a defect was painted, 0 elsewhere."""


class PaintedPreprocessed(NamedTuple):
    """A prepared image with a painted defect."""

    image: Preprocessed
    spots: DefectMask


def paint_preprocessed(
    image: Preprocessed,
    rng: Generator,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    kinds: Sequence[str] = PAINTED_TYPES,
) -> PaintedPreprocessed:
    """Paint one defect on a prepared image; where none was painted not a bit changes.

    Args:
        image: a good one.
        rng: all that the defect depends on besides the image.
        mean: that it was prepared with.
        std: that it was prepared with.
        kinds: of defects, one of which is painted.
    """
    offset, scale = (np.asarray(values, np.float32)[:, None, None] for values in (mean, std))
    levels = np.rint(np.clip(255 * (image * scale + offset), 0, 255)).astype(np.uint8)
    pixels = np.ascontiguousarray(levels.transpose(1, 2, 0))
    painted = paint_defect(pixels, rng, kinds)
    change = (painted.pixels.astype(np.float32) - pixels).transpose(2, 0, 1) / (255 * scale)
    return PaintedPreprocessed(
        np.ascontiguousarray(image + change, np.float32), painted.mask.astype(np.float32)
    )
