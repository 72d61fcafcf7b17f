"""From the distances of an image's patches to its score and its anomaly map, without torch.

A graph does both for an image that it sees as a whole. Where it sees only a part, as with tiles, it
gives the distances, and they become a score and a map here, in fit and inspection alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float

from flawmap.errors import OptionError
from flawmap.runtime.mask import Counting
from flawmap.runtime.preprocess import Preprocessing
from flawmap.runtime.tiles import PatchDistances

_LARGEST_SIGMA = 1000.0
"""A Gaussian beyond it is no smoothing of a map but an error, pixels."""

_PIXELS_OF_A_BAND = 2**21
"""Pixels of a map that are made at once."""

_LEAST_WEIGHT = 1e-6
"""Of the patches around a pixel, so that what is far from all that counts divides by no zero."""

PatchCounts = Bool[np.ndarray, "_row _column"]
"""True for each patch that counts."""

AnomalyMap = Float[np.ndarray, "_height _width"]
"""A distance for each pixel of an image, >= 0."""


class PatchScores(NamedTuple):
    """What the distances of an image's patches make.

    Args:
        score: the image score, >= 0.
        pixels: the anomaly map, in the image's own pixels.
    """

    score: float
    pixels: AnomalyMap


@dataclass(frozen=True)
class PatchScoring:
    """How the distances of an image's patches make its score and its anomaly map.

    Args:
        share: fraction q, 0…1: the score is the mean of the k = max(1, round(q·P)) largest
            distances, where P is the number of the image's patches that count, or that of all
            patches of one network input where it is less; 0 for the largest alone. So a small
            defect counts as much in a large image as in a small one.
        sigma: standard deviation of the Gaussian over the map, in pixels, 0…1000.

    Raises:
        OptionError: a value out of its range.

    Example:
        >>> distances = np.array([[3.0, 1.0], [2.0, 0.0]])
        >>> preprocessing = Preprocessing(32, 32, multiple=16)
        >>> PatchScoring(share=0.5, sigma=1.0)(distances, (32, 32), preprocessing).score
        2.5
    """

    share: float
    sigma: float

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise OptionError(f"a top share of {self.share} is no fraction; use 0 to 1")
        if not 0 <= self.sigma <= _LARGEST_SIGMA:
            raise OptionError(f"sigma is {self.sigma}; use 0 to {_LARGEST_SIGMA:g} pixels")

    def __call__(
        self, distances: PatchDistances, size: tuple[int, int], preprocessing: Preprocessing
    ) -> PatchScores:
        """The score of an image, and its anomaly map.

        Args:
            distances: of all its patches, from its top left corner on.
            size: height and width of the image, in pixels.
            preprocessing: of the network's input.
        """
        counting = preprocessing.counting(*size)
        cells, flat = None, distances.ravel()
        if counting is not None:
            cells = _cells(counting, preprocessing.multiple)
            flat = distances[cells]
        score = self._image_score(flat, math.prod(preprocessing.patch_grid))
        return PatchScores(score, self._anomaly_map(distances, cells, size, preprocessing.multiple))

    def _image_score(self, flat: np.ndarray, patches_of_input: int) -> float:
        count = max(1, round(self.share * min(flat.size, patches_of_input)))
        largest = np.partition(flat, flat.size - count)[flat.size - count :]
        # Sorted, so that the sum does not depend on the order that partition leaves.
        return float(np.sort(largest).mean(dtype=np.float64))

    def _anomaly_map(
        self,
        distances: PatchDistances,
        cells: PatchCounts | None,
        size: tuple[int, int],
        multiple: int,
    ) -> AnomalyMap:
        result = np.empty(size, np.float32)
        for rows, pixels in self._bands(distances, cells, size, multiple):
            result[rows] = pixels
        return result

    def _bands(
        self,
        distances: PatchDistances,
        cells: PatchCounts | None,
        size: tuple[int, int],
        multiple: int,
    ) -> Iterator[tuple[slice, AnomalyMap]]:
        """The map from top to bottom, some rows at once, so that nothing has its size twice."""
        height, width = size
        step = max(1, _PIXELS_OF_A_BAND // (width * multiple))
        # As far as the Gaussian and the interpolation see.
        margin = -(-self._reach // multiple) + 1
        for first in range(0, len(distances), step):
            top, bottom = max(0, first - margin), first + step + margin
            part = None if cells is None else cells[top:bottom]
            part_size = min(bottom * multiple, height) - top * multiple, width
            pixels = self._band(distances[top:bottom], part, part_size, multiple)
            rows = slice(first * multiple, min((first + step) * multiple, height))
            begin = rows.start - top * multiple
            yield rows, pixels[begin : begin + rows.stop - rows.start]

    def _band(
        self,
        distances: PatchDistances,
        cells: PatchCounts | None,
        size: tuple[int, int],
        multiple: int,
    ) -> AnomalyMap:
        """Bilinear between the patches' centres, then a Gaussian.

        What does not count is 0, and counts in no average (normalised convolution).
        """
        if cells is None:
            return self._smooth(distances, size, multiple)
        weights = self._smooth(cells.astype(np.float32), size, multiple)
        pixels = self._smooth(distances * cells, size, multiple)
        pixels /= np.maximum(weights, _LEAST_WEIGHT)
        height, width = size
        pixels *= cells.repeat(multiple, 0).repeat(multiple, 1)[:height, :width]
        return pixels

    @property
    def _reach(self) -> int:
        """Pixels from the middle of the Gaussian's kernel to its end, at 4 σ as in torch."""
        return int(4 * self.sigma + 0.5)

    def _smooth(self, values: PatchDistances, size: tuple[int, int], multiple: int) -> AnomalyMap:
        rows, columns = values.shape
        height, width = size
        grown = columns * multiple, rows * multiple
        pixels = cv2.resize(values.astype(np.float32), grown, interpolation=cv2.INTER_LINEAR)
        pixels = pixels[:height, :width]
        if self._reach:
            # The border is mirrored, as in torch.
            kernel = 2 * self._reach + 1, 2 * self._reach + 1
            pixels = cv2.GaussianBlur(pixels, kernel, self.sigma, borderType=cv2.BORDER_REFLECT)
        return np.ascontiguousarray(pixels)


def _cells(counting: Counting, side: int) -> PatchCounts:
    """Which patches of an image count: those with a pixel that does."""
    height, width = counting.shape
    padded = np.pad(counting, ((0, -height % side), (0, -width % side)))
    blocks = padded.reshape(len(padded) // side, side, -1, side)
    return np.asarray(blocks.any(axis=(1, 3)))
