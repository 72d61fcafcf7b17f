"""Whether an AUROC and an F1 can come from one test set: bounds that no list of scores breaks.

Where a paper does not print its defect prevalence, its metrics still bound it, and sometimes no
prevalence fits them. With ρ = defective / good images of the test set and c = 2/F1 − 2 = (FP +
FN)/TP, a threshold that misses a fraction x of the defects and rejects a fraction y of the good
parts has y = ρ (c − (1 + c) x).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from flawmap.errors import OptionError

_SLACK = 1e-6
"""By this fraction of itself a ratio may lie beyond a bound.

Computed metrics are a little off the exact ones.
"""

_ROUNDING = 1e-12
"""Metrics that are so near to each other are equal.

A pair of images in the wrong order takes more off an AUROC.
"""


@dataclass(frozen=True)
class Ratios:
    """The ratios of defective to good images that are possible, both ends among them; 0 never is.

    Args:
        low: the smallest ratio, >= 0.
        high: the largest ratio; infinite where there is no bound.

    >>> 0.5 in Ratios(0.2, 0.6), 0.7 in Ratios(0.2, 0.6)
    (True, False)
    """

    low: float
    high: float

    @property
    def empty(self) -> bool:
        """Whether no ratio is possible."""
        return self.low > self.high * (1 + _SLACK) or self.high == 0 or self.low == math.inf

    def __contains__(self, ratio: float) -> bool:
        if self.empty:
            return False
        return bool(self.low * (1 - _SLACK) <= ratio <= self.high * (1 + _SLACK))


class Feasible(NamedTuple):
    """The ratios of defective to good images with which a pair of metrics is possible.

    Args:
        any_threshold: if the F1 is that of any threshold.
        best_f1: if it is that of the threshold with the largest F1.
        youden: if it is that of Youden's threshold, with the largest TPR − FPR.
    """

    any_threshold: Ratios
    best_f1: Ratios
    youden: Ratios


def feasible_ratios(
    auroc: float, f1: float, *, auroc_within: float = 0.0, f1_within: float = 0.0
) -> Feasible:
    """Bounds of ρ, the ratio of defective to good images of the test set, from both sides.

    At any threshold ρ ≥ (1 − A)/c where A < 1/(1 + c): the curve through (y, 1 − x) has an area of
    (1 − x)(1 − y) or more, hence ρ ≥ (1 − A/(1 − x))/(c − (1 + c) x), and without a real root of
    its derivative in x this is least at x = 0. Where A is larger, missed defects alone may explain
    the F1, and any ρ will do.

    At the threshold with the largest F1 the curve lies nowhere above TPR = (1 + FPR/ρ)/(1 + c). So
    1 − A is at least the triangle above that line, ½ρc²/(1 + c), and as rejecting all is no better,
    ρ ≤ 1/c.

    At Youden's threshold, that of the largest TPR − FPR, the loss x + y is L = √(2(1 − A)) or less,
    hence ρ ≤ L/c while L (1 + c) < c.

    Args:
        auroc: 0…1.
        f1: 0…1.
        auroc_within: how far the true AUROC may lie from that, as after rounding.
        f1_within: how far the true F1 may lie from that.

    Raises:
        OptionError: a metric outside 0…1.

    >>> round(feasible_ratios(0.70, 0.90).any_threshold.low, 4)
    1.35
    """
    smallest, largest = _interval("AUROC", auroc, auroc_within)
    worst, best = _interval("F1", f1, f1_within)
    low = _at_least(largest, worst)
    return Feasible(
        Ratios(low, math.inf),
        Ratios(low, _at_most_best_f1(smallest, best)),
        Ratios(low, _at_most_youden(smallest, best)),
    )


def _interval(name: str, value: float, within: float) -> tuple[float, float]:
    # Written so that a NaN fails it too.
    if not -_ROUNDING <= value <= 1 + _ROUNDING:
        raise OptionError(f"{name} is {value}; give a number from 0 to 1")
    if abs(value - round(value)) < _ROUNDING:
        value = round(value)
    return max(0.0, value - within), min(1.0, value + within)


# All in terms of F1, as c is infinite where that is 0: 1/c = F1/(2(1 − F1)), 1/(1 + c) = F1/(2 −
# F1).


def _at_least(auroc: float, f1: float) -> float:
    if auroc >= f1 / (2 - f1) - _ROUNDING:
        return 0.0
    return math.inf if f1 == 1 else (1 - auroc) * f1 / (2 * (1 - f1))


def _at_most_best_f1(auroc: float, f1: float) -> float:
    if f1 == 1:
        return math.inf
    by_rejecting_all = f1 / (2 * (1 - f1))
    by_triangle = (1 - auroc) * f1 * (2 - f1) / (2 * (1 - f1) ** 2)
    return min(by_rejecting_all, by_triangle)


def _at_most_youden(auroc: float, f1: float) -> float:
    loss = math.sqrt(2 * (1 - auroc))
    bounded = loss * (1 + _SLACK) < 2 * (1 - f1) / (2 - f1)
    return loss * f1 / (2 * (1 - f1)) if bounded else math.inf
