"""What an inspection says, and what anything that inspects can be asked.

All that a line, a page or a report needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import cv2
import numpy as np
from jaxtyping import Float, Int

from flawmap.runtime.preprocess import ImageInput

Heatmap = Float[np.ndarray, "height width"]
"""How unlike the good parts each pixel is, on one scale for all images: 1 is the most that a good
part shows anywhere at the chosen budget of false rejects; 0 is exactly like a good part. Float32,
the image's own size."""

Outline = Int[np.ndarray, "_corner 2"]
"""Corners of a polygon: x, y in pixels."""


@dataclass(frozen=True, eq=False)
class Region:
    """A part of an image that lies beyond the limit of good parts.

    Connected pixels whose heat map exceeds 1.

    Args:
        x: of its left column, in pixels.
        y: of its top row.
        width: of its box.
        height: of its box.
        area: its pixels.
        peak: the largest value of the heat map in it.
        outline: its outer border.
    """

    x: int
    y: int
    width: int
    height: int
    area: int
    peak: float
    outline: Outline

    def to_dict(self) -> dict[str, Any]:
        """Say its box, area and peak in JSON."""
        box = {"x": self.x, "y": self.y, "width": self.width, "height": self.height}
        return {**box, "area": self.area, "peak": round(self.peak, 4)}


@dataclass(frozen=True, eq=False)
class Verdict:
    """What one inspection says.

    Args:
        score: how unlike the good parts the image is: a distance, ≥ 0, without a unit.
        p_value: the share of good parts that would look at least as odd, 0…1; small means
            suspicious.
        reject: whether the score lies beyond the threshold of the chosen budget.
        heatmap: where the image differs, in the image's own size; 1 marks the limit of good parts.
    """

    score: float
    p_value: float
    reject: bool
    heatmap: Heatmap

    def regions(self, min_area: int = 0) -> list[Region]:
        """List the regions beyond the limit of good parts, the oddest first.

        Pixels that touch at a corner are one.

        Args:
            min_area: regions of fewer pixels are left out.
        """
        return [region for region in self._regions if region.area >= min_area]

    # The table, the overlay and the page each ask.
    @cached_property
    def _regions(self) -> list[Region]:
        beyond = (self.heatmap > 1).astype(np.uint8)
        count, numbers, boxes, _ = cv2.connectedComponentsWithStats(beyond, connectivity=8)
        found = [_region(self.heatmap, numbers, n, boxes[n]) for n in range(1, count)]
        return sorted(found, key=lambda region: -region.peak)


class Inspects(Protocol):
    """Anything that judges images."""

    def inspect(self, image: ImageInput) -> Verdict:
        """Judge one image; raises ImageError where it cannot be used."""
        ...


def _region(heatmap: Heatmap, numbers: np.ndarray, number: int, box: np.ndarray) -> Region:
    x, y, width, height, area = (int(side) for side in box)
    window = np.s_[y : y + height, x : x + width]
    inside = numbers[window] == number
    outlines, _ = cv2.findContours(
        inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(x, y)
    )
    return Region(
        x, y, width, height, area, float(heatmap[window][inside].max()), outlines[0][:, 0]
    )
