"""Metrics per image: of the ranking by score, and of the decisions at a threshold."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from flawmap.metrics.bootstrap import bootstrap_intervals, proportion_with_interval
from flawmap.metrics.metric import Metric
from flawmap.metrics.ranking import (
    ImageScores,
    Labels,
    MetricValues,
    ResampleWeights,
    auroc,
    average_precision,
    best_f1,
    count_scores,
    false_positive_rate,
    reject_all_f1,
)

Rejections = Bool[np.ndarray, " image"]

NO_GOOD, NO_DEFECTS = "no good test images", "no defective test images"

REJECT_ALL_F1 = "F1 of rejecting all"
IMAGE_METRICS = (
    "image AUROC",
    "image AP",
    "F1 max",
    "F1 at the threshold",
    REJECT_ALL_F1,
    "FPR at 95 % recall",
)
"""The figures that need both classes."""


def image_metrics(scores: ImageScores, labels: Labels, rejected: Rejections) -> dict[str, Metric]:
    """Compute the figures per image.

    Args:
        scores: one per image.
        labels: 1 for defective.
        rejected: the verdicts at the threshold that was set from good parts alone.
    """
    good, defective = labels == 0, labels == 1
    missing = NO_GOOD if not good.any() else NO_DEFECTS if not defective.any() else ""
    return {
        **(
            dict.fromkeys(IMAGE_METRICS, Metric(unavailable=missing))
            if missing
            else _ranked(scores, labels, rejected)
        ),
        "defect prevalence": Metric(float(labels.mean()))
        if len(labels)
        else Metric(unavailable="no test images"),
        "false reject rate (FPR)": _share_of(rejected[good], NO_GOOD),
        "miss rate (FNR)": _share_of(~rejected[defective], NO_DEFECTS),
    }


def confusion_counts(labels: Labels, rejected: Rejections) -> dict[str, int]:
    """Count the verdicts: TP and FN of the defective, FP and TN of the good."""
    pairs = {"TP": (1, True), "FP": (0, True), "FN": (1, False), "TN": (0, False)}
    return {
        name: int(np.sum((labels == label) & (rejected == said)))
        for name, (label, said) in pairs.items()
    }


def f1_of(
    rejected: Rejections, labels: Labels, weights: ResampleWeights | None = None
) -> MetricValues:
    """F1 of verdicts, 2 TP / (2 TP + FP + FN); with weights, one per resample."""
    each = np.ones(len(labels)) if weights is None else weights
    hits, alarms, defects = each @ (rejected & (labels == 1)), each @ rejected, each @ (labels == 1)
    return np.asarray(2 * hits / (alarms + defects))


def _ranked(scores: ImageScores, labels: Labels, rejected: Rejections) -> dict[str, Metric]:
    def figures(weights: ResampleWeights | None) -> dict[str, MetricValues]:
        counts = count_scores(scores, labels, weights)
        return {
            "image AUROC": auroc(counts),
            "image AP": average_precision(counts),
            "F1 max": best_f1(counts),
            "F1 at the threshold": f1_of(rejected, labels, weights),
            REJECT_ALL_F1: reject_all_f1(counts),
            "FPR at 95 % recall": false_positive_rate(counts),
        }

    metrics = bootstrap_intervals(figures, labels)
    # It follows from the defect prevalence, which the resamples keep.
    return metrics | {REJECT_ALL_F1: Metric(metrics[REJECT_ALL_F1].value)}


def _share_of(chosen: Rejections, missing: str) -> Metric:
    return (
        proportion_with_interval(int(chosen.sum()), len(chosen))
        if len(chosen)
        else Metric(unavailable=missing)
    )
