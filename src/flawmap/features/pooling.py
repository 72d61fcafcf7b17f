"""Pooling over square neighbourhoods."""

from __future__ import annotations

from torch.nn import functional

from flawmap.support.tensors import Features


def average_pool_3x3(features: Features, *, count_padding: bool = True) -> Features:
    """The average of each 3×3 neighbourhood; beyond the border are zeros.

    Args:
        features: (batch, channel, row, column).
        count_padding: whether those zeros count. Counted, as in Li et al. 2025, eq. 1, a map of
            ones becomes 4/9 in the corners and 6/9 along the edges.

    Example:
        >>> average_pool_3x3(torch.ones(1, 1, 3, 3))[0, 0, 0]
        tensor([0.4444, 0.6667, 0.4444])
    """
    return average_pool(features, 3, count_padding=count_padding)


def average_pool(features: Features, window: int, *, count_padding: bool = True) -> Features:
    """The average of each square neighbourhood; beyond the border are zeros.

    Args:
        features: (batch, channel, row, column).
        window: side of the neighbourhood in positions, odd.
        count_padding: whether those zeros count.

    Example:
        >>> average_pool(torch.ones(1, 1, 5, 5), 5)[0, 0, 0]
        tensor([0.3600, 0.4800, 0.6000, 0.4800, 0.3600])
    """
    return functional.avg_pool2d(
        features, window, stride=1, padding=window // 2, count_include_pad=count_padding
    )


def max_pool_3x3(features: Features) -> Features:
    """The largest value of each 3×3 neighbourhood; nothing beyond the border counts.

    Args:
        features: (batch, channel, row, column).

    Example:
        >>> max_pool_3x3(torch.eye(3).reshape(1, 1, 3, 3))[0, 0, 0]
        tensor([1., 1., 1.])
    """
    return functional.max_pool2d(features, kernel_size=3, stride=1, padding=1)
