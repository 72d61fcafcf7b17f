"""Figures per picture: does the score tell a defective part from a good one, and how does the threshold do?"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from flawmap.metrics.bootstrap import share, with_intervals
from flawmap.metrics.metric import Metric
from flawmap.metrics.ranking import (
    Figures,
    ImageScores,
    Labels,
    Weights,
    auroc,
    average_precision,
    best_f1,
    false_positive_rate,
    tally,
    trivial_f1,
)

Verdicts = Bool[np.ndarray, " picture"]

NO_GOOD, NO_DEFECTS = "no good test pictures", "no defective test pictures"

TRIVIAL = "F1 of rejecting all"
RANKED = ("image AUROC", "image AP", "F1 max", "F1 at the threshold", TRIVIAL, "FPR at 95 % recall")
"""The figures that need both classes."""


def image_metrics(scores: ImageScores, labels: Labels, rejected: Verdicts) -> dict[str, Metric]:
    """Compute the figures per picture.

    Args:
        scores: one per picture.
        labels: 1 for defective.
        rejected: the verdicts at the threshold that was set from good parts alone.
    """
    good, defective = labels == 0, labels == 1
    missing = NO_GOOD if not good.any() else NO_DEFECTS if not defective.any() else ""
    return {
        **(dict.fromkeys(RANKED, Metric(absent=missing)) if missing else _ranked(scores, labels, rejected)),
        "share of defects": Metric(float(labels.mean())) if len(labels) else Metric(absent="no test pictures"),
        "good parts rejected": _share_of(rejected[good], NO_GOOD),
        "defects missed": _share_of(~rejected[defective], NO_DEFECTS),
    }


def confusion(labels: Labels, rejected: Verdicts) -> dict[str, int]:
    """Count the verdicts: TP and FN of the defective, FP and TN of the good."""
    pairs = {"TP": (1, True), "FP": (0, True), "FN": (1, False), "TN": (0, False)}
    return {name: int(np.sum((labels == label) & (rejected == said))) for name, (label, said) in pairs.items()}


def f1_of(rejected: Verdicts, labels: Labels, weights: Weights | None = None) -> Figures:
    """F1 of verdicts, 2 TP / (2 TP + FP + FN); with weights, one per resample."""
    each = np.ones(len(labels)) if weights is None else weights
    hits, alarms, defects = each @ (rejected & (labels == 1)), each @ rejected, each @ (labels == 1)
    return np.asarray(2 * hits / (alarms + defects))


def _ranked(scores: ImageScores, labels: Labels, rejected: Verdicts) -> dict[str, Metric]:
    def figures(weights: Weights | None) -> dict[str, Figures]:
        counts = tally(scores, labels, weights)
        return {
            "image AUROC": auroc(counts),
            "image AP": average_precision(counts),
            "F1 max": best_f1(counts),
            "F1 at the threshold": f1_of(rejected, labels, weights),
            TRIVIAL: trivial_f1(counts),
            "FPR at 95 % recall": false_positive_rate(counts),
        }

    metrics = with_intervals(figures, labels)
    # It follows from the share of defects, which the resamples keep.
    return metrics | {TRIVIAL: Metric(metrics[TRIVIAL].value)}


def _share_of(chosen: Verdicts, missing: str) -> Metric:
    return share(int(chosen.sum()), len(chosen)) if len(chosen) else Metric(absent=missing)
