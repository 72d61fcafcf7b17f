"""How well scores rank defective above good, from counts per score; for images and for pixels.

A curve over thresholds needs no more than how many good and how many defective there are at each
distinct score. Counts can be streamed, weighted and resampled; leading axes of the arrays are
resamples, and a metric is then one number per resample. Positive means defective. Both classes must
be there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from flawmap.metrics.shapes import Counts, ImageScores, Labels, MetricValues, ResampleWeights

_Curve = Float[np.ndarray, "... point"]


class ScoreCounts(NamedTuple):
    """How many there are at each distinct score, from the lowest score up.

    Args:
        good: (..., score), of the good ones.
        defective: (..., score), of the defective ones.
    """

    good: Counts
    defective: Counts


def count_scores(
    scores: ImageScores, labels: Labels, weights: ResampleWeights | None = None
) -> ScoreCounts:
    """How many good and defective images there are at each distinct score.

    Args:
        scores: (image,).
        labels: (image,), 1 for defective, 0 for good.
        weights: (resample, image); with them the counts are (resample, score).

    >>> count_scores(np.array([0.5, 0.9, 0.5]), np.array([0, 1, 1]))
    ScoreCounts(good=array([1., 0.]), defective=array([1., 1.]))
    """
    order = np.argsort(scores, kind="stable")
    _, starts = np.unique(scores[order], return_index=True)
    ordered = np.ones(len(scores)) if weights is None else weights[:, order].astype(np.float64)
    defective = labels[order] == 1
    return ScoreCounts(
        np.add.reduceat(ordered * ~defective, starts, axis=-1),
        np.add.reduceat(ordered * defective, starts, axis=-1),
    )


def auroc(counts: ScoreCounts) -> MetricValues:
    """Area under the ROC curve; ties count half.

    Args:
        counts: per score, of both classes.

    >>> float(auroc(count_scores(np.array([1.0, 2.0, 2.0, 3.0]), np.array([0, 0, 1, 1]))))
    0.875
    """
    below = np.cumsum(counts.good, axis=-1) - counts.good
    ranked_lower = _fractions(counts.defective) * (below + counts.good / 2)
    return np.asarray(ranked_lower.sum(axis=-1) / counts.good.sum(axis=-1))


def average_precision(counts: ScoreCounts) -> MetricValues:
    """Area under the precision-recall curve by steps.

    Args:
        counts: per score, of both classes.

    >>> float(average_precision(count_scores(np.array([1.0, 2.0, 3.0]), np.array([1, 0, 1]))))
    0.8333333333333333
    """
    hits = _at_least(counts.defective)
    rejected = _at_least(counts.good + counts.defective)
    weighted_hits = _fractions(counts.defective) * hits
    return np.asarray((weighted_hits / np.maximum(rejected, 1)).sum(axis=-1))


def f1_by_threshold(counts: ScoreCounts) -> Counts:
    """F1 = 2 TP / (2 TP + FP + FN) of rejecting from each distinct score up.

    Args:
        counts: per score, of both classes.

    Returns:
        (..., score), 0…1.

    >>> f1_by_threshold(ScoreCounts(np.array([1, 0]), np.array([0, 1]))).tolist()
    [0.6666666666666666, 1.0]
    """
    hits = _at_least(counts.defective)
    rejected = _at_least(counts.good + counts.defective)
    return np.asarray(2 * hits / (rejected + counts.defective.sum(axis=-1, keepdims=True)))


def best_f1(counts: ScoreCounts) -> MetricValues:
    """F1 at the threshold that serves it best.

    Args:
        counts: per score, of both classes.

    >>> float(best_f1(ScoreCounts(np.array([1, 0]), np.array([0, 1]))))
    1.0
    """
    return np.asarray(f1_by_threshold(counts).max(axis=-1))


def reject_all_f1(counts: ScoreCounts) -> MetricValues:
    """F1 of rejecting everything, 2π / (1 + π) for a fraction π of defects.

    What any F1 must be held against.

    Args:
        counts: per score, of both classes.

    >>> float(reject_all_f1(ScoreCounts(np.array([1, 0]), np.array([0, 1]))))
    0.6666666666666666
    """
    return f1_by_threshold(counts)[..., 0]


def false_positive_rate(counts: ScoreCounts, recall: float = 0.95) -> MetricValues:
    """False reject rate at the highest threshold with a recall.

    Args:
        counts: per score, of both classes.
        recall: fraction of the defective ones that must be rejected, 0…1.

    >>> float(false_positive_rate(ScoreCounts(np.array([3, 1, 0]), np.array([0, 1, 1]))))
    0.25
    """
    reached = _at_least(_fractions(counts.defective))
    # The lowest score catches all; rounding must not hide that.
    lowest = np.arange(reached.shape[-1]) == 0
    enough = np.maximum(reached, lowest) >= recall - 1e-12
    from_highest = np.argmax(enough[..., ::-1], axis=-1)
    last = enough.shape[-1] - 1 - from_highest
    rates = _at_least(_fractions(counts.good))
    return np.take_along_axis(rates, last[..., None], axis=-1)[..., 0]


def recall_above_rank(counts: ScoreCounts, rank: int) -> MetricValues:
    """Share of the defective ones that score above the k-th largest score of the good ones.

    Those that tie with it are not above it.

    Args:
        counts: per score, of both classes.
        rank: k, from 1, the largest score, to the number of good ones.

    >>> counts = count_scores(np.array([1.0, 2.0, 2.0, 3.0]), np.array([0, 0, 1, 1]))
    >>> float(recall_above_rank(counts, 1)), float(recall_above_rank(counts, 2))
    (0.5, 1.0)
    """
    # Falling from the lowest score up, so the last one that is reached is the k-th largest.
    is_reached = _at_least(counts.good) >= rank
    threshold = is_reached.sum(axis=-1, keepdims=True) - 1
    above = _at_least(counts.defective) - counts.defective
    hits = np.take_along_axis(above, threshold, axis=-1)[..., 0]
    return np.asarray(hits / counts.defective.sum(axis=-1))


def per_region_overlap(good: Counts, covered: Counts, limit: float = 0.3) -> MetricValues:
    """AUPRO: area under the per-region overlap up to a false positive rate, over that rate.

    The overlap at a threshold is the mean over true regions of the fraction of their pixels beyond
    it (Bergmann et al. 2021, MVTec AD, section 6). As every region weighs the same, each of its
    pixels weighs one by the region's area, and no region needs to be looked at twice. The curve is
    linear between thresholds, its end point interpolated.

    Args:
        good: defect-free pixels at each distinct score, those of defective images included.
        covered: weights of defective pixels at each distinct score.
        limit: of the false positive rate, 0…1.

    >>> float(per_region_overlap(np.array([4, 0]), np.array([0.5, 0.5])))
    0.575
    """
    rate = _curve(good)
    overlap = _curve(covered)
    left, right = rate[..., :-1], rate[..., 1:]
    width = np.maximum(right - left, np.finfo(float).tiny)
    inside = np.clip((limit - left) / width, 0, 1)
    rise = np.diff(overlap, axis=-1)
    area = (right - left) * inside * (overlap[..., :-1] + rise * inside / 2)
    return np.asarray(area.sum(axis=-1) / limit)


def _curve(counts: Counts) -> _Curve:
    """The fraction beyond each threshold, from 0 at the highest one to 1."""
    rising = np.cumsum(_fractions(counts)[..., ::-1], axis=-1)
    return np.concatenate([np.zeros_like(rising[..., :1]), rising], axis=-1)


def _at_least(counts: Counts) -> Counts:
    """How many have this score or a higher one."""
    return np.cumsum(counts[..., ::-1], axis=-1)[..., ::-1]


def _fractions(counts: Counts) -> Counts:
    return np.asarray(counts / counts.sum(axis=-1, keepdims=True))
