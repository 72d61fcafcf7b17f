"""How much a metric would move with other images: resampling, exact intervals for proportions."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from flawmap.metrics.metric import Metric
from flawmap.metrics.shapes import Labels, MetricValues, ResampleWeights

_CONFIDENCE = 0.95

_RESAMPLES_PER_BLOCK = 50
"""So that memory stays bounded whatever the number of images."""

_MetricFunction = Callable[[ResampleWeights | None], dict[str, MetricValues]]
"""Metrics by name: of all images for None, else of each resample with these weights."""


def bootstrap_intervals(
    compute: _MetricFunction, labels: Labels, *, num_resamples: int = 1000, seed: int = 0
) -> dict[str, Metric]:
    """Metrics with the 95 % percentile interval of the bootstrap over images (Efron 1979).

    Good and defective images are resampled separately, so that each resample has as many of both
    as there are. The same seed gives the same interval. A metric at the end of its range gets an
    interval that ends there.

    Args:
        compute: the metrics by name, of all images or of weighted resamples.
        labels: (image,), 1 for defective, 0 for good.
        num_resamples: 1000 let the ends of an interval wobble by about a tenth of its width.
        seed: of the resamples.

    >>> labels = np.array([0, 0, 1, 1])
    >>> def fraction_defective(weights):
    ...     weights = np.ones(4) if weights is None else weights
    ...     return {"defective": weights @ labels / weights.sum(axis=-1)}
    >>> bootstrap_intervals(fraction_defective, labels)["defective"]
    Metric(value=0.5, low=0.5, high=0.5, unavailable='')
    """
    values = compute(None)
    resampled = [compute(weights) for weights in _resample(labels, num_resamples, seed)]
    metrics = {}
    for name, value in values.items():
        spread = np.concatenate([np.atleast_1d(block[name]) for block in resampled])
        low, high = np.quantile(spread, [(1 - _CONFIDENCE) / 2, (1 + _CONFIDENCE) / 2])
        metrics[name] = Metric(float(value), float(low), float(high))
    return metrics


def proportion_with_interval(hits: int, count: int) -> Metric:
    """A proportion with its exact 95 % interval (Clopper and Pearson 1934).

    Args:
        hits: 0…count.
        count: >= 1.

    >>> round(proportion_with_interval(0, 10).high, 4)  # 1 - 0.025 ** (1 / 10)
    0.3085
    """
    from scipy.stats import binomtest

    low, high = binomtest(hits, count).proportion_ci(_CONFIDENCE, method="exact")
    return Metric(hits / count, float(low), float(high))


def _resample(labels: Labels, num_resamples: int, seed: int) -> Iterator[ResampleWeights]:
    """How often each image is in each resample, a block of resamples at a time."""
    rng = np.random.default_rng(seed)
    for start in range(0, num_resamples, _RESAMPLES_PER_BLOCK):
        block = min(_RESAMPLES_PER_BLOCK, num_resamples - start)
        weights = np.zeros((block, len(labels)))
        for label in np.unique(labels):
            members = np.flatnonzero(labels == label)
            equal = np.full(len(members), 1 / len(members))
            weights[:, members] = rng.multinomial(len(members), equal, block)
        yield weights
