from __future__ import annotations

import numpy as np

from flawmap.metrics.bootstrap import bootstrap_intervals, proportion_with_interval
from flawmap.metrics.ranking import auroc, count_scores
from flawmap.metrics.shapes import MetricValues, ResampleWeights
from helpers import interval_of


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    # Two normal classes 1 apart: AUROC = Φ(1/√2).
    truth, rng, held = 0.76025, np.random.default_rng(0), 0
    labels = np.repeat([0, 1], [80, 80])
    for _ in range(150):
        scores = rng.normal(labels)

        def figures(
            weights: ResampleWeights | None, scores: np.ndarray = scores
        ) -> dict[str, MetricValues]:
            return {"image AUROC": auroc(count_scores(scores, labels, weights))}

        metric = bootstrap_intervals(figures, labels, num_resamples=400)["image AUROC"]
        low, high = interval_of(metric)
        held += low <= truth <= high
    # 150 × 0.95 = 142.5 with a standard deviation of 2.7; the percentile interval is a little short
    # of it.
    assert 132 <= held <= 150


def test_both_classes_are_in_every_resample() -> None:
    labels = np.array([0, 1, 1, 1, 1, 1])

    def figures(weights: ResampleWeights | None) -> dict[str, MetricValues]:
        return {"good": np.ones(()) if weights is None else (weights @ (labels == 0)).astype(float)}

    metric = bootstrap_intervals(figures, labels)["good"]
    assert (metric.low, metric.high) == (1, 1)


def test_the_interval_of_a_proportion_covers_at_least_what_it_says() -> None:
    rng = np.random.default_rng(1)
    held = 0
    hits, counts = np.unique(rng.binomial(191, 0.02, 2000), return_counts=True)
    for hit, count in zip(hits.tolist(), counts.tolist(), strict=True):
        low, high = interval_of(proportion_with_interval(hit, 191))
        held += count * (low <= 0.02 <= high)
    assert held >= 0.95 * 2000
