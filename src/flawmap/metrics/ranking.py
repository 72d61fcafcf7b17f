"""How well scores rank defective above good, from counts per score.

The same few lines for images and for pixels.

A curve over thresholds needs no more than how many good and how many defective there are at each
distinct score. Counts can be streamed, weighted and resampled; leading axes of the arrays are
resamples, and each figure is then one per resample. Positive means defective. Both classes must be
there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num

Counts = Num[np.ndarray, "... score"]
MetricValues = Float[np.ndarray, "..."] | float
"""One figure, 0…1, or one per resample."""

ImageScores = Float[np.ndarray, " image"]
Labels = Int[np.ndarray, " image"]
ResampleWeights = Num[np.ndarray, "resample image"]


class ScoreCounts(NamedTuple):
    """How many there are at each distinct score, from the lowest score up."""

    good: Counts
    defective: Counts


def count_scores(
    scores: ImageScores, labels: Labels, weights: ResampleWeights | None = None
) -> ScoreCounts:
    """Count good (label 0) and defective (label 1) at each distinct score.

    With weights, once per resample.

    >>> tally(np.array([0.5, 0.9, 0.5]), np.array([0, 1, 1]))
    Tally(good=array([1., 0.]), defective=array([1., 1.]))
    """
    order = np.argsort(scores, kind="stable")
    _, starts = np.unique(scores[order], return_index=True)
    each = np.ones(len(scores)) if weights is None else weights[:, order].astype(np.float64)
    defective = labels[order] == 1
    return ScoreCounts(
        *(np.add.reduceat(each * chosen, starts, axis=-1) for chosen in (~defective, defective))
    )


def auroc(tally: ScoreCounts) -> MetricValues:
    """Area under the ROC curve; ties count half."""
    below = np.cumsum(tally.good, axis=-1) - tally.good
    return np.asarray(
        (_share(tally.defective) * (below + tally.good / 2)).sum(axis=-1) / tally.good.sum(axis=-1)
    )


def average_precision(tally: ScoreCounts) -> MetricValues:
    """Area under the precision-recall curve by steps."""
    hits, alarms = _at_least(tally.defective), _at_least(tally.good + tally.defective)
    return np.asarray((_share(tally.defective) * hits / np.maximum(alarms, 1)).sum(axis=-1))


def f1_by_threshold(tally: ScoreCounts) -> Counts:
    """F1 = 2 TP / (2 TP + FP + FN) of rejecting from each distinct score up."""
    hits, alarms = _at_least(tally.defective), _at_least(tally.good + tally.defective)
    return np.asarray(2 * hits / (alarms + tally.defective.sum(axis=-1, keepdims=True)))


def best_f1(tally: ScoreCounts) -> MetricValues:
    """F1 at the threshold that serves it best."""
    return np.asarray(f1_by_threshold(tally).max(axis=-1))


def reject_all_f1(tally: ScoreCounts) -> MetricValues:
    """F1 of rejecting everything, 2π / (1 + π) for a share π of defects.

    What any F1 must be held against.
    """
    return f1_by_threshold(tally)[..., 0]


def false_positive_rate(tally: ScoreCounts, recall: float = 0.95) -> MetricValues:
    """False reject rate at the highest threshold with this recall."""
    caught = _at_least(_share(tally.defective))
    # The lowest score catches all; rounding must not hide that.
    enough = np.maximum(caught, np.arange(caught.shape[-1]) == 0) >= recall - _ROUNDING
    last = enough.shape[-1] - 1 - np.argmax(enough[..., ::-1], axis=-1)
    return np.take_along_axis(_at_least(_share(tally.good)), last[..., None], axis=-1)[..., 0]


def per_region_overlap(good: Counts, covered: Counts, limit: float = 0.3) -> MetricValues:
    """AUPRO: area under the per-region overlap up to a false positive rate of `limit`.

    It is divided by the limit.

    The overlap at a threshold is the mean over true regions of the share of their pixels beyond it
    (Bergmann et al. 2021, MVTec AD, section 6). As every region weighs the same, each of its pixels
    weighs one by the region's area, and no region needs to be looked at twice. The curve is linear
    between thresholds, its end point interpolated.

    Args:
        good: defect-free pixels at each distinct score, those of defective images included.
        covered: weights of defective pixels at each distinct score.
        limit: of the false positive rate, 0…1.
    """
    rate, overlap = (np.cumsum(_share(counts)[..., ::-1], axis=-1) for counts in (good, covered))
    rate, overlap = (
        np.concatenate([np.zeros_like(curve[..., :1]), curve], axis=-1) for curve in (rate, overlap)
    )
    left, right = rate[..., :-1], rate[..., 1:]
    inside = np.clip((limit - left) / np.maximum(right - left, np.finfo(float).tiny), 0, 1)
    rise = np.diff(overlap, axis=-1)
    area = (right - left) * inside * (overlap[..., :-1] + rise * inside / 2)
    return np.asarray(area.sum(axis=-1) / limit)


def _at_least(counts: Counts) -> Counts:
    """Count those with this score or a higher one."""
    return np.cumsum(counts[..., ::-1], axis=-1)[..., ::-1]


def _share(counts: Counts) -> Counts:
    return np.asarray(counts / counts.sum(axis=-1, keepdims=True))


_ROUNDING = 1e-12
