"""The share of defects found while 1 % or 5 % of the good parts may be rejected.

What a line pays for a threshold are good parts that are thrown away, so the question is how many
defects are found at a price. The threshold comes from one of two sets of good images, by the same
rule (`Budget.rank`): among n scores it is the k-th largest, k = ⌊b (n + 1)⌋, and a part is found
when it scores *above* it.

- *calibrated*: the n scores that the inspector was calibrated on. It is what a line gets.
- *by rank*: the scores of the n good test images. It compares methods, whatever their calibration.

Both need k >= 1, that is n >= 1/b − 1: 99 good images for 1 %, 19 for 5 %.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np

from flawmap.metrics.bootstrap import bootstrap_intervals, proportion_with_interval
from flawmap.metrics.metric import Metric
from flawmap.metrics.ranking import count_scores, recall_above_rank
from flawmap.metrics.shapes import ImageScores, Labels, MetricValues, ResampleWeights
from flawmap.runtime.calibration import Budget, Calibration

_CONFIDENCE = 0.95

_NO_GOOD, _NO_DEFECTS = "no good test images", "no defective test images"


class OperatingPoint(NamedTuple):
    """A budget of false rejects, and the good images that its threshold comes from.

    Args:
        budget: fraction of good parts that may be rejected on average, 0…1 exclusive.
        source: `calibrated` by the images that the inspector was calibrated on, `by rank` by the
            good images of the test set.

    Example:
        >>> OperatingPoint(0.05, "by rank").defects_found
        'defects found at 5 % false rejects, by rank'
    """

    budget: float
    source: Literal["calibrated", "by rank"]

    @property
    def defects_found(self) -> str:
        """Name of the metric: the share of the defective images that are rejected."""
        return f"defects found at {100 * self.budget:g} % false rejects, {self.source}"

    @property
    def false_rejects(self) -> str:
        """Name of the metric: the share of good parts that this threshold rejects."""
        return f"false rejects at {100 * self.budget:g} %, {self.source}"


_CALIBRATED = (OperatingPoint(0.01, "calibrated"), OperatingPoint(0.05, "calibrated"))
_BY_RANK = (OperatingPoint(0.01, "by rank"), OperatingPoint(0.05, "by rank"))

OPERATING_POINTS = (*_CALIBRATED, *_BY_RANK)
"""Those that every evaluation tells."""


def defects_found(
    scores: ImageScores, labels: Labels, calibration: Calibration
) -> dict[str, Metric]:
    """The share of defects found at each operating point, and the good parts it costs, by name.

    Args:
        scores: (image,), numbers; the higher, the more anomalous.
        labels: (image,), 1 for defective, 0 for good.
        calibration: of the inspector; its own budget changes nothing here.

    Returns:
        Two metrics for each of `OPERATING_POINTS`; those that cannot be had say why.

    Example:
        >>> calibration = Calibration(np.arange(99.0), np.arange(99.0))
        >>> metrics = defects_found(np.array([97.0, 98.5, 99.0]), np.array([1, 1, 1]), calibration)
        >>> metrics["defects found at 1 % false rejects, calibrated"].value  # two above 98 of three
        0.6666666666666666
        >>> metrics["defects found at 5 % false rejects, by rank"].unavailable
        'no good test images'
    """
    metrics: dict[str, Metric] = {}
    for point in _CALIBRATED:
        metrics |= _calibrated(point, scores, labels, calibration)
    return metrics | _by_rank(scores, labels)


def without_operating_points(metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """The other metrics, for a list beside the table of these.

    Args:
        metrics: by name.

    Example:
        >>> point = OPERATING_POINTS[0]
        >>> list(without_operating_points({point.defects_found: Metric(1.0), "F1": Metric(0.9)}))
        ['F1']
    """
    names = {
        name for point in OPERATING_POINTS for name in (point.defects_found, point.false_rejects)
    }
    return {name: metric for name, metric in metrics.items() if name not in names}


def missing_reasons(metrics: Mapping[str, Metric]) -> list[str]:
    """Why operating points have no value, each reason once.

    Args:
        metrics: by name; others than those of `OPERATING_POINTS` are ignored.

    Example:
        >>> calibration = Calibration(np.arange(50.0), np.arange(50.0))
        >>> missing_reasons(defects_found(np.arange(20.0), np.repeat([0, 1], 10), calibration))
        ['1 % takes 99 good images to calibrate on; there are 50', \
'1 % takes 99 good test images; there are 10', '5 % takes 19 good test images; there are 10']
    """
    names = [point.defects_found for point in OPERATING_POINTS]
    names += [point.false_rejects for point in OPERATING_POINTS]
    reasons = [metrics[name].unavailable for name in names if name in metrics]
    return list(dict.fromkeys(filter(None, reasons)))


def _calibrated(
    point: OperatingPoint, scores: ImageScores, labels: Labels, calibration: Calibration
) -> dict[str, Metric]:
    """Two proportions with exact intervals: the test images have no part in the threshold."""
    moved = calibration.at(Budget(point.budget))
    if reason := _too_few(moved.budget, len(moved.scores), "good images to calibrate on"):
        return _unavailable(point, reason)
    rejected = scores > moved.threshold
    return {
        point.defects_found: _proportion(rejected[labels == 1], _NO_DEFECTS),
        point.false_rejects: _proportion(rejected[labels == 0], _NO_GOOD),
    }


def _by_rank(scores: ImageScores, labels: Labels) -> dict[str, Metric]:
    """The shares above each threshold, resampled with it, and the false rejects to expect of it."""
    num_good = int(np.sum(labels == 0))
    metrics: dict[str, Metric] = {}
    ranks: dict[str, int] = {}
    for point in _BY_RANK:
        budget = Budget(point.budget)
        reason = _too_few(budget, num_good, "good test images") if num_good else _NO_GOOD
        metrics |= _unavailable(point, reason or _NO_DEFECTS)
        if not reason:
            ranks[point.defects_found] = budget.rank(num_good)
            metrics[point.false_rejects] = _rejects_above_rank(budget.rank(num_good), num_good)
    if (labels == 1).any():
        metrics |= _recalls(scores, labels, ranks)
    return metrics


def _recalls(scores: ImageScores, labels: Labels, ranks: Mapping[str, int]) -> dict[str, Metric]:
    def compute(weights: ResampleWeights | None) -> dict[str, MetricValues]:
        counts = count_scores(scores, labels, weights)
        return {name: recall_above_rank(counts, rank) for name, rank in ranks.items()}

    return bootstrap_intervals(compute, labels)


def _rejects_above_rank(rank: int, num_good: int) -> Metric:
    """Share of new good parts above the k-th largest of n scores: Beta(k, n + 1 − k), Vovk 2012."""
    from scipy.stats import beta

    ends = [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2]
    low, high = beta.ppf(ends, rank, num_good + 1 - rank)
    return Metric(rank / (num_good + 1), float(low), float(high))


def _proportion(events: np.ndarray, missing: str) -> Metric:
    if not len(events):
        return Metric(unavailable=missing)
    return proportion_with_interval(int(events.sum()), len(events))


def _too_few(budget: Budget, count: int, what: str) -> str:
    if count >= budget.images_needed:
        return ""
    return (
        f"{100 * budget.false_rejects:g} % takes {budget.images_needed} {what}; there are {count}"
    )


def _unavailable(point: OperatingPoint, reason: str) -> dict[str, Metric]:
    return dict.fromkeys((point.defects_found, point.false_rejects), Metric(unavailable=reason))
