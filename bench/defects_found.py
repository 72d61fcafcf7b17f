"""How often the intervals of "defects found, by rank" hold the true share, by simulation.

    python bench/defects_found.py [--draws 400]

Scores of good parts are drawn from a normal distribution, those of defects from one that lies
2.4 standard deviations higher. The true share of defects found at a budget is then known. For
comparison: the exact interval of Clopper and Pearson, which takes the threshold as given.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.stats import norm

from flawmap.metrics.bootstrap import proportion_with_interval
from flawmap.metrics.defects_found import OperatingPoint, defects_found
from flawmap.metrics.metric import Metric
from flawmap.runtime.calibration import Budget, Calibration

SEPARATION = 2.4
"""Of the two means, in standard deviations; an image AUROC of 95.5 %."""

DEFECTIVE = 392
CASES = ((19, 0.05), (50, 0.05), (99, 0.05), (191, 0.05), (99, 0.01), (191, 0.01), (400, 0.01))
"""Numbers of good test images, and budgets."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=400)
    draws = parser.parse_args().draws
    print("| good test images | budget | k | by resamples | by Clopper and Pearson |")
    print("|---|---|---|---|---|")
    for num_good, budget in CASES:
        held = np.mean([coverage(num_good, budget, seed) for seed in range(draws)], axis=0)
        rank = Budget(budget).rank(num_good)
        print(f"| {num_good} | {budget:.0%} | {rank} | {held[0]:.0%} | {held[1]:.0%} |", flush=True)


def coverage(num_good: int, budget: float, seed: int) -> tuple[bool, bool]:
    """Whether both intervals of one drawn test set hold the true share."""
    labels = np.repeat([0, 1], [num_good, DEFECTIVE])
    scores = np.random.default_rng(seed).normal(10 + SEPARATION * labels, 1)
    name = OperatingPoint(budget, "by rank").defects_found
    metric = defects_found(scores, labels, Calibration(np.ones(1), np.ones(1)))[name]
    true_share = float(norm.sf(norm.isf(budget) - SEPARATION))
    exact = proportion_with_interval(round((metric.value or 0) * DEFECTIVE), DEFECTIVE)
    return holds(metric, true_share), holds(exact, true_share)


def holds(metric: Metric, share: float) -> bool:
    """Whether the interval of a metric holds a share."""
    assert metric.low is not None
    assert metric.high is not None
    return metric.low <= share <= metric.high


if __name__ == "__main__":
    main()
