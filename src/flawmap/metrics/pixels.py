"""Metrics per pixel, streamed: does the heat map tell defective pixels from good ones?"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float

from flawmap.metrics.bootstrap import bootstrap_intervals
from flawmap.metrics.metric import Metric
from flawmap.metrics.ranking import (
    ScoreCounts,
    auroc,
    average_precision,
    best_f1,
    per_region_overlap,
    reject_all_f1,
)
from flawmap.metrics.shapes import Counts, MetricValues, ResampleWeights
from flawmap.runtime.image_types import Mask
from flawmap.runtime.mask import Counting
from flawmap.runtime.verdict import Heatmap

_PIXEL_METRICS = ("pixel AUROC", "pixel AP", "pixel F1 max", "pixel F1 of rejecting all", "AUPRO")

_NO_MASKS = "no defective test image has a mask"
_NO_GOOD_PIXELS = "every pixel is masked as defective"

_BITS = 18
"""Of a float32's 23 bits behind the leading one, so many count."""

_SHIFT = 23 - _BITS

_LOWEST = (127 - 16) << _BITS
"""What 2⁻¹⁶ begins with; 127 is the exponent's bias."""

_LEVELS = (16 + 8) << _BITS

_FINE = 2**_BITS // 64
"""Levels that the intervals take as one."""

_Histograms = Float[np.ndarray, "3 level"]
"""Counts per level: good pixels, defective ones, and those weighted by 1 / region area."""


class PixelCounts:
    """What metrics per pixel need to know of any number of images, in bounded memory.

    The levels are the float32 numbers from 2⁻¹⁶ to 2⁸, cut to 18 bits behind the leading one:
    values that agree to 1 part in 262,144 count as ties, those outside count as the ends. Only
    levels that occur take memory, some 6 MB an octave. For the intervals 18 kB more an image, at 64
    levels an octave.

    >>> counts = PixelCounts()
    >>> counts.add(np.array([[0.1, 0.9]], np.float32), np.array([[False, True]]))
    >>> float(counts.metrics()["pixel AUROC"])
    1.0
    """

    def __init__(self) -> None:
        # Zeros that are not touched take no memory.
        self.good = np.zeros(_LEVELS, np.int64)
        self.defective = np.zeros(_LEVELS, np.int64)
        self.covered = np.zeros(_LEVELS)
        self.histograms: list[_Histograms] = []
        self.labels: list[int] = []

    def add(self, heatmap: Heatmap, mask: Mask, counting: Counting | None = None) -> None:
        """Count the pixels of an image.

        Args:
            heatmap: (height, width), >= 0, the higher, the more anomalous.
            mask: (height, width), True where the part is defective; all False for a good one.
            counting: (height, width), True for the pixels that count; None for all.
        """
        # The bits of floats ≥ 0 are in the order of the numbers.
        bits = np.ascontiguousarray(heatmap, np.float32).view(np.int32)
        levels = np.clip((bits >> _SHIFT) - _LOWEST, 0, _LEVELS - 1).astype(np.int64)
        is_good = ~mask
        if counting is not None:
            is_good, mask = is_good & counting, mask & counting
        good, defective = levels[is_good], levels[mask]
        weights = _region_weights(mask)
        np.add.at(self.good, good, 1)
        np.add.at(self.defective, defective, 1)
        np.add.at(self.covered, defective, weights)
        histograms = (_coarse(good), _coarse(defective), _coarse(defective, weights))
        self.histograms.append(np.stack(histograms).astype(np.float32))
        self.labels.append(int(mask.any()))

    def __add__(self, other: PixelCounts) -> PixelCounts:
        """The counts of all images of both."""
        both = PixelCounts()
        both.good = self.good + other.good
        both.defective = self.defective + other.defective
        both.covered = self.covered + other.covered
        both.histograms = self.histograms + other.histograms
        both.labels = self.labels + other.labels
        return both

    def metrics(self) -> dict[str, MetricValues]:
        """The metrics over all pixels, by name; both good and defective pixels must be there."""
        occurring = np.flatnonzero(self.good + self.defective)
        return _metrics_of(self.good[occurring], self.defective[occurring], self.covered[occurring])


def pixel_metrics(counts: PixelCounts) -> dict[str, Metric]:
    """The metrics per pixel by name, over all pixels of all images; AUPRO to a FPR of 30 %.

    Args:
        counts: of the good images and of the defective ones that have a mask.

    >>> pixel_metrics(PixelCounts())["AUPRO"].unavailable
    'no defective test image has a mask'
    """
    if not any(counts.labels):
        return dict.fromkeys(_PIXEL_METRICS, Metric(unavailable=_NO_MASKS))
    if not counts.good.any():
        return dict.fromkeys(_PIXEL_METRICS, Metric(unavailable=_NO_GOOD_PIXELS))
    histograms = np.stack(counts.histograms)

    def compute(weights: ResampleWeights | None) -> dict[str, MetricValues]:
        if weights is None:
            return counts.metrics()
        summed = np.tensordot(weights.astype(np.float32), histograms, 1)
        return _metrics_of(*summed.transpose(1, 0, 2).astype(np.float64))

    return bootstrap_intervals(compute, np.array(counts.labels))


def _metrics_of(good: Counts, defective: Counts, covered: Counts) -> dict[str, MetricValues]:
    counts = ScoreCounts(good, defective)
    values = (
        auroc(counts),
        average_precision(counts),
        best_f1(counts),
        reject_all_f1(counts),
        per_region_overlap(good, covered),
    )
    return dict(zip(_PIXEL_METRICS, values, strict=True))


def _coarse(levels: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    return np.bincount(levels // _FINE, weights, _LEVELS // _FINE)


def _region_weights(mask: Mask) -> np.ndarray:
    """One over its region's area for each defective pixel; corners that touch are one region."""
    if not mask.any():
        return np.zeros(0)
    _, regions, boxes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return np.asarray(1 / boxes[regions[mask], cv2.CC_STAT_AREA])
