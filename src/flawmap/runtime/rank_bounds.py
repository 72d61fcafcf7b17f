"""How surely few good parts score above a rank among scores of good images."""

from __future__ import annotations

import math

import numpy as np

DEFAULT_CONFIDENCE = 0.95
"""Confidence of statements about a threshold where the budget names none."""


def confidence_at_rank(rank: int, count: int, fraction: float) -> float:
    """Confidence that at most this fraction of good parts scores above a rank.

    P(Beta(k, n + 1 − k) ≤ α) = P(Binomial(n, α) ≥ k), the probability that at least k of n scores
    are among the α highest (Vovk 2012).

    Args:
        rank: k, 1…`count`, counted from the largest score.
        count: n, number of scores.
        fraction: α, 0…1.

    Returns:
        0…1.

    Example:
        >>> round(confidence_at_rank(1, 299, 0.01), 3)
        0.95
    """
    if fraction >= 1:
        return 1.0
    hits = np.arange(rank)
    factors = np.where(hits, (count + 1 - hits) / np.maximum(hits, 1), 1)
    log_choose = np.cumsum(np.log(factors))
    misses = count - hits
    log_chance = log_choose + hits * math.log(fraction) + misses * math.log1p(-fraction)
    return max(0.0, 1.0 - float(np.exp(log_chance).sum()))


def false_reject_upper_bound(
    rank: int, count: int, confidence: float = DEFAULT_CONFIDENCE
) -> float:
    """Upper bound on the fraction of good parts that score above a rank.

    Args:
        rank: 1…`count`, counted from the largest score.
        count: number of scores.
        confidence: probability that the bound holds, 0…1 exclusive.

    Returns:
        0…1.

    Example:
        >>> round(false_reject_upper_bound(1, 299), 4)
        0.01
    """
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if confidence_at_rank(rank, count, middle) >= confidence:
            high = middle
        else:
            low = middle
    return high
