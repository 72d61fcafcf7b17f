"""From the distances of an image's patches to its score and its anomaly map, without torch.

A graph does both for an image that it sees as a whole. Where it sees only a part, as with tiles, or
where zones are scored apart, it gives the distances, and they become scores and a map here, in fit
and inspection alike.
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
from flawmap.runtime.mask import CellGrid, counting_cells
from flawmap.runtime.preprocess import Preprocessing, resize
from flawmap.runtime.tiles import PatchDistances
from flawmap.runtime.zone_layout import zone_layout

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
        score: the image score, >= 0; with zones the largest of theirs.
        pixels: the anomaly map, in the pixels that the network saw: those of the image in tiles.
        by_zone: the score of each zone; empty without zones.
    """

    score: float
    pixels: AnomalyMap
    by_zone: tuple[float, ...] = ()


class PeakScores(NamedTuple):
    """What calibrates an image: its score and the largest value of its map, or those of each zone.

    Args:
        scores: the image score, or that of each zone, >= 0.
        peaks: largest value of the anomaly map, or of the map in each zone, >= 0.
    """

    scores: tuple[float, ...]
    peaks: tuple[float, ...]


@dataclass(frozen=True)
class PatchScoring:
    """How the distances of an image's patches make its score and its anomaly map.

    Args:
        share: fraction q, 0…1: the score is the mean of the k = max(1, round(q·P)) largest
            distances, where P is the number of the image's patches that count, or that of all
            patches of one network input where it is less; 0 for the largest alone. So a small
            defect counts as much in a large image as in a small one. Of a zone likewise.
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
        scores = self._scores(distances, size, preprocessing)
        pixels = np.empty(preprocessing.place_of(*size), np.float32)
        for rows, band in self._bands(distances, size, preprocessing):
            pixels[rows] = band
        return PatchScores(max(scores), pixels, () if preprocessing.zones is None else scores)

    def with_peaks(
        self, distances: PatchDistances, size: tuple[int, int], preprocessing: Preprocessing
    ) -> PeakScores:
        """The score of an image and the peak of its map, or those of each zone.

        Args:
            distances: of all its patches, from its top left corner on.
            size: height and width of the image, in pixels.
            preprocessing: of the network's input.
        """
        if preprocessing.zones is None:
            # Without the map as a whole, which takes four bytes a pixel.
            bands = self._bands(distances, size, preprocessing)
            peak = max(float(band.max()) for _, band in bands)
            return PeakScores(self._scores(distances, size, preprocessing), (peak,))
        scored = self(distances, size, preprocessing)
        # In the image's own pixels, as the heat map is: resizing mixes neighbouring zones.
        peaks = zone_layout(preprocessing, *size).peaks(resize(scored.pixels, *size))
        return PeakScores(scored.by_zone, tuple(peaks.tolist()))

    def _scores(
        self, distances: PatchDistances, size: tuple[int, int], preprocessing: Preprocessing
    ) -> tuple[float, ...]:
        """The image score, or that of each zone."""
        patches_of_input = math.prod(preprocessing.patch_grid)
        if preprocessing.zones is not None:
            zones = zone_layout(preprocessing, *size).cells
            return tuple(self._score(distances[zone], patches_of_input) for zone in zones)
        cells = _cells_of(size, preprocessing)
        flat = distances.ravel() if cells is None else distances[cells]
        return (self._score(flat, patches_of_input),)

    def _score(self, flat: np.ndarray, patches_of_input: int) -> float:
        count = max(1, round(self.share * min(flat.size, patches_of_input)))
        largest = np.partition(flat, flat.size - count)[flat.size - count :]
        # Sorted, so that the sum does not depend on the order that partition leaves.
        return float(np.sort(largest).mean(dtype=np.float64))

    def _bands(
        self, distances: PatchDistances, size: tuple[int, int], preprocessing: Preprocessing
    ) -> Iterator[tuple[slice, AnomalyMap]]:
        """The map from top to bottom, some rows at once, so that nothing has its size twice."""
        cells, multiple = _cells_of(size, preprocessing), preprocessing.multiple
        height, width = preprocessing.place_of(*size)
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


def _cells_of(size: tuple[int, int], preprocessing: Preprocessing) -> PatchCounts | None:
    """Which patches of an image count; None where all do."""
    counting = preprocessing.counting(*size)
    if counting is None:
        return None
    grid = CellGrid(*preprocessing.place_of(*size), preprocessing.multiple)
    return np.asarray(counting_cells(counting, grid))
