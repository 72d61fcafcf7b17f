"""Metrics per image: of the ranking by score, and of the decisions at a threshold."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from flawmap.metrics.bootstrap import bootstrap_intervals, proportion_with_interval
from flawmap.metrics.metric import Metric
from flawmap.metrics.ranking import (
    auroc,
    average_precision,
    best_f1,
    count_scores,
    false_positive_rate,
    reject_all_f1,
)
from flawmap.metrics.shapes import ImageScores, Labels, MetricValues, ResampleWeights

_Rejections = Bool[np.ndarray, " image"]
"""True for an image that is rejected."""

_REJECT_ALL_F1 = "F1 of rejecting all"

_RANKING_METRICS = (
    "image AUROC",
    "image AP",
    "F1 max",
    "F1 at the threshold",
    _REJECT_ALL_F1,
    "FPR at 95 % recall",
)
"""The metrics that need both classes."""

_NO_GOOD, _NO_DEFECTS = "no good test images", "no defective test images"


def image_metrics(scores: ImageScores, labels: Labels, rejected: _Rejections) -> dict[str, Metric]:
    """The metrics per image by name; those that cannot be had say why.

    Args:
        scores: (image,), the higher, the more anomalous.
        labels: (image,), 1 for defective, 0 for good.
        rejected: (image,), the verdicts at the threshold that was set from good parts alone.

    >>> scores, labels = np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1])
    >>> metrics = image_metrics(scores, labels, scores > 0.85)
    >>> metrics["image AUROC"].value, metrics["miss rate (FNR)"].value
    (1.0, 0.5)
    """
    good, defective = labels == 0, labels == 1
    metrics = _ranking_metrics(scores, labels, rejected)
    if len(labels):
        metrics["defect prevalence"] = Metric(float(labels.mean()))
    else:
        metrics["defect prevalence"] = Metric(unavailable="no test images")
    metrics["false reject rate (FPR)"] = _rate(rejected[good], _NO_GOOD)
    metrics["miss rate (FNR)"] = _rate(~rejected[defective], _NO_DEFECTS)
    return metrics


def confusion_counts(labels: Labels, rejected: _Rejections) -> dict[str, int]:
    """How many verdicts are right and wrong: TP and FN of the defective, FP and TN of the good.

    Args:
        labels: (image,), 1 for defective, 0 for good.
        rejected: (image,), the verdicts.

    >>> confusion_counts(np.array([0, 0, 1]), np.array([False, True, True]))
    {'TP': 1, 'FP': 1, 'FN': 0, 'TN': 1}
    """
    defective = labels == 1
    return {
        "TP": int(np.sum(defective & rejected)),
        "FP": int(np.sum(~defective & rejected)),
        "FN": int(np.sum(defective & ~rejected)),
        "TN": int(np.sum(~defective & ~rejected)),
    }


def _f1_of(
    rejected: _Rejections, labels: Labels, weights: ResampleWeights | None = None
) -> MetricValues:
    """F1 of verdicts, 2 TP / (2 TP + FP + FN).

    Args:
        rejected: (image,), the verdicts.
        labels: (image,), 1 for defective, 0 for good; one of either, at least, is needed.
        weights: (resample, image); with them one F1 per resample.

    >>> float(_f1_of(np.array([False, True, True]), np.array([0, 0, 1])))
    0.6666666666666666
    """
    weight = np.ones(len(labels)) if weights is None else weights
    hits = weight @ (rejected & (labels == 1))
    positives = weight @ rejected + weight @ (labels == 1)
    return np.asarray(2 * hits / positives)


def _ranking_metrics(
    scores: ImageScores, labels: Labels, rejected: _Rejections
) -> dict[str, Metric]:
    if not (labels == 0).any():
        return dict.fromkeys(_RANKING_METRICS, Metric(unavailable=_NO_GOOD))
    if not (labels == 1).any():
        return dict.fromkeys(_RANKING_METRICS, Metric(unavailable=_NO_DEFECTS))

    def compute(weights: ResampleWeights | None) -> dict[str, MetricValues]:
        counts = count_scores(scores, labels, weights)
        values = (
            auroc(counts),
            average_precision(counts),
            best_f1(counts),
            _f1_of(rejected, labels, weights),
            reject_all_f1(counts),
            false_positive_rate(counts),
        )
        return dict(zip(_RANKING_METRICS, values, strict=True))

    metrics = bootstrap_intervals(compute, labels)
    # It follows from the defect prevalence, which the resamples keep.
    metrics[_REJECT_ALL_F1] = Metric(metrics[_REJECT_ALL_F1].value)
    return metrics


def _rate(events: _Rejections, missing: str) -> Metric:
    """The rate of an event among some images; unavailable where there are none."""
    if not len(events):
        return Metric(unavailable=missing)
    return proportion_with_interval(int(events.sum()), len(events))
