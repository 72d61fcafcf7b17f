"""Figures per pixel, streamed.

Does the heat map tell defective pixels from good ones, region by region?
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float

from flawmap.metrics.bootstrap import bootstrap_intervals
from flawmap.metrics.metric import Metric
from flawmap.metrics.ranking import (
    Counts,
    MetricValues,
    ResampleWeights,
    ScoreCounts,
    auroc,
    average_precision,
    best_f1,
    per_region_overlap,
    reject_all_f1,
)
from flawmap.runtime.preprocess import Mask
from flawmap.runtime.verdict import Heatmap

PIXEL_METRICS = ("pixel AUROC", "pixel AP", "pixel F1 max", "pixel F1 of rejecting all", "AUPRO")

NO_MASKS, NO_GOOD_PIXELS = (
    "no defective test image has a mask",
    "every pixel is masked as defective",
)

Histograms = Float[np.ndarray, "3 level"]
"""Counts per level: good pixels, defective ones, and those weighted by 1 / region area."""


class PixelCounts:
    """What figures per pixel need to know of any number of images, in bounded memory.

    The levels are the float32 numbers from 2⁻¹⁶ to 2⁸, cut to 18 bits behind the leading one:
    values that agree to 1 part in 262,144 count as ties, those outside count as the ends. Only
    levels that occur take memory, some 6 MB an octave. For the intervals 18 kB more an image, at 64
    levels an octave.
    """

    def __init__(self) -> None:
        # Zeros that are not touched take no memory.
        self.good = np.zeros(_LEVELS, np.int64)
        self.defective = np.zeros(_LEVELS, np.int64)
        self.covered = np.zeros(_LEVELS)
        self.histograms: list[Histograms] = []
        self.labels: list[int] = []

    def add(self, heatmap: Heatmap, mask: Mask) -> None:
        """Count the pixels of one image; heat maps are ≥ 0, in the mask's size."""
        # The bits of floats ≥ 0 are in the order of the numbers.
        bits = np.ascontiguousarray(heatmap, np.float32).view(np.int32)
        levels = np.clip((bits >> _CUT) - _LOWEST, 0, _LEVELS - 1).astype(np.int64)
        good, defective, weights = levels[~mask], levels[mask], _weights(mask)
        np.add.at(self.good, good, 1)
        np.add.at(self.defective, defective, 1)
        np.add.at(self.covered, defective, weights)
        coarse = [
            np.bincount(chosen // _FINE, by, _LEVELS // _FINE)
            for chosen, by in ((good, None), (defective, None), (defective, weights))
        ]
        self.histograms.append(np.stack(coarse).astype(np.float32))
        self.labels.append(int(mask.any()))

    def __add__(self, other: PixelCounts) -> PixelCounts:
        both = PixelCounts()
        both.good = self.good + other.good
        both.defective = self.defective + other.defective
        both.covered = self.covered + other.covered
        both.histograms, both.labels = (
            self.histograms + other.histograms,
            self.labels + other.labels,
        )
        return both

    def metrics(self) -> dict[str, MetricValues]:
        """Compute the figures over all pixels."""
        seen = np.flatnonzero(self.good + self.defective)
        return _figures(self.good[seen], self.defective[seen], self.covered[seen])


def pixel_metrics(tally: PixelCounts) -> dict[str, Metric]:
    """Compute the figures per pixel, over all pixels of all images.

    AUPRO to a false positive rate of 30 %.
    """
    if not any(tally.labels) or not tally.good.any():
        return dict.fromkeys(
            PIXEL_METRICS, Metric(unavailable=NO_GOOD_PIXELS if any(tally.labels) else NO_MASKS)
        )
    coarse = np.stack(tally.histograms)

    def figures(weights: ResampleWeights | None) -> dict[str, MetricValues]:
        if weights is None:
            return tally.metrics()
        return _figures(
            *np.tensordot(weights.astype(np.float32), coarse, 1)
            .transpose(1, 0, 2)
            .astype(np.float64)
        )

    return bootstrap_intervals(figures, np.array(tally.labels))


def _figures(good: Counts, defective: Counts, covered: Counts) -> dict[str, MetricValues]:
    counts = ScoreCounts(good, defective)
    values = (auroc(counts), average_precision(counts), best_f1(counts), reject_all_f1(counts))
    return dict(zip(PIXEL_METRICS, (*values, per_region_overlap(good, covered)), strict=True))


def _weights(mask: Mask) -> np.ndarray:
    """Weigh each defective pixel by one over its region's area.

    Pixels that touch at a corner are of one region.
    """
    if not mask.any():
        return np.zeros(0)
    _, regions, boxes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return np.asarray(1 / boxes[regions[mask], cv2.CC_STAT_AREA])


_BITS = 18
_CUT = 23 - _BITS
"""Of a float32's 23 bits behind the leading one, 18 count."""

_LOWEST = (127 - 16) << _BITS
"""What 2⁻¹⁶ begins with; 127 is the exponent's bias."""

_LEVELS = (16 + 8) << _BITS

_FINE = 2**_BITS // 64
"""Levels that the intervals take as one."""
