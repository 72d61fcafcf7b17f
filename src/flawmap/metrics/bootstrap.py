"""How much a figure would move with other images: resampling, and exact intervals for shares."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from flawmap.metrics.metric import Metric
from flawmap.metrics.ranking import Labels, MetricValues, ResampleWeights

CONFIDENCE = 0.95
NUM_RESAMPLES = 1000
"""Resamples; the ends of the interval then wobble by about a tenth of its width."""

_BLOCK = 50
"""Resamples at a time, so that memory stays bounded whatever the number of images."""

MetricFunction = Callable[[ResampleWeights | None], dict[str, MetricValues]]
"""Metrics by name: of all images for None, else of each resample with these weights."""


def bootstrap_intervals(
    figures: MetricFunction, labels: Labels, *, times: int = NUM_RESAMPLES, seed: int = 0
) -> dict[str, Metric]:
    """Give each figure the 95 % percentile interval of the bootstrap over images.

    Good and defective images are resampled apart, so that each resample has as many of both as
    there are. The same seed gives the same interval. A figure at the end of its range gets an
    interval that ends there.
    """
    values = figures(None)
    resampled = [figures(weights) for weights in _resample(labels, times, seed)]
    metrics = {}
    for name, value in values.items():
        spread = np.concatenate([np.atleast_1d(block[name]) for block in resampled])
        low, high = np.quantile(spread, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        metrics[name] = Metric(float(value), float(low), float(high))
    return metrics


def proportion_with_interval(hits: int, count: int) -> Metric:
    """A proportion with its exact 95 % interval (Clopper and Pearson 1934)."""
    from scipy.stats import binomtest

    low, high = binomtest(hits, count).proportion_ci(CONFIDENCE, method="exact")
    return Metric(hits / count, float(low), float(high))


def _resample(labels: Labels, times: int, seed: int) -> Iterator[ResampleWeights]:
    rng = np.random.default_rng(seed)
    for start in range(0, times, _BLOCK):
        block = min(_BLOCK, times - start)
        weights = np.zeros((block, len(labels)))
        for label in np.unique(labels):
            members = np.flatnonzero(labels == label)
            weights[:, members] = rng.multinomial(
                len(members), np.full(len(members), 1 / len(members)), block
            )
        yield weights
