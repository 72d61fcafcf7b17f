"""How well scores rank defective above good: AUROC, average precision, F1. Positive means defective."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from flawmap.prepare import Mask
from flawmap.verdict import Heatmap

ImageScores = Float[np.ndarray, " picture"]
Labels = Int[np.ndarray, " picture"]
Verdicts = Bool[np.ndarray, " picture"]


class BestF1(NamedTuple):
    """The largest F1 over all thresholds at observed scores, and where it is reached (score ≥ threshold)."""

    f1: float
    threshold: float


def auroc(scores: ImageScores, labels: Labels) -> float | None:
    """Area under the ROC curve, 0…1; None where there is only one class."""
    return float(roc_auc_score(labels, scores)) if _both(labels) else None


def average_precision(scores: ImageScores, labels: Labels) -> float | None:
    """Area under the precision-recall curve by steps, 0…1; None where there is only one class."""
    return float(average_precision_score(labels, scores)) if _both(labels) else None


def best_f1(scores: ImageScores, labels: Labels) -> BestF1 | None:
    """F1 at the threshold that serves it best; None where there is only one class.

    >>> best_f1(np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]), np.array([1, 1, 0, 1, 0, 0, 1]))
    BestF1(f1=0.75, threshold=0.6)
    """
    if not _both(labels):
        return None
    precision, recall, thresholds = precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)
    best = int(np.argmax(f1[:-1]))
    return BestF1(float(f1[best]), float(thresholds[best]))


def f1_of(rejected: Verdicts, labels: Labels) -> float | None:
    """F1 of verdicts; None where nothing is defective."""
    hits, defective = np.count_nonzero(rejected & (labels == 1)), np.count_nonzero(labels)
    return float(2 * hits / (np.count_nonzero(rejected) + defective)) if defective else None


def trivial_f1(labels: Labels) -> float | None:
    """F1 of rejecting everything, 2π / (1 + π) for a share π of defective parts: what any F1 must be held against."""
    return f1_of(np.ones(len(labels), bool), labels)


class PixelTally:
    """AUROC over pixels in bounded memory, whatever the number of pictures.

    Scores are counted by the upper 22 bits below the sign of their float32, whose order is the order of the numbers:
    values that agree to 1 part in 16,384 count as ties. 64 MB.
    """

    _BITS = 22

    def __init__(self) -> None:
        self._good = np.zeros(2**self._BITS, np.int64)
        self._defective = np.zeros(2**self._BITS, np.int64)

    def add(self, heatmap: Heatmap, mask: Mask) -> None:
        """Count the pixels of one picture; heat maps are ≥ 0."""
        keys = heatmap.astype(np.float32).view(np.uint32) >> np.uint32(31 - self._BITS)
        for counts, chosen in ((self._good, ~mask), (self._defective, mask)):
            values, times = np.unique(keys[chosen], return_counts=True)
            counts[values] += times

    def auroc(self) -> float | None:
        """Area under the ROC curve over all pixels, ties counted half; None where there is only one class."""
        good, defective = self._good.sum(), self._defective.sum()
        if not good or not defective:
            return None
        below = np.cumsum(self._good) - self._good
        return float(np.dot(self._defective / defective, (below + self._good / 2) / good))


def _both(labels: Labels) -> bool:
    return 0 < int(np.count_nonzero(labels)) < len(labels)
