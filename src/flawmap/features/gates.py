"""Weights for the rows, columns or channels of a map, by how their means stand out."""

from __future__ import annotations

import torch

from flawmap.support.tensors import Features


def gate_axes(features: Features) -> Features:
    """The map with rows and columns of each channel weighted.

    F · 4 σ(z(row means)) σ(z(column means)), where z standardises along the axis, and the 4 makes
    up for σ(0)² = 1/4.

    Args:
        features: (batch, channel, row, column).

    Example:
        >>> gate_axes(torch.ones(1, 1, 2, 2)).flatten()
        tensor([1., 1., 1., 1.])
    """
    rows = torch.sigmoid(_standardise(features.mean(dim=3, keepdim=True), dim=2))
    columns = torch.sigmoid(_standardise(features.mean(dim=2, keepdim=True), dim=3))
    return features * (4 * rows * columns)


def gate_channels(features: Features) -> Features:
    """The map with each channel weighted among all (after CBAM, Woo et al. 2018).

    F · 2 σ(z(means) + z(maxima)), where z standardises over the channels, and the 2 makes up for
    σ(0) = 1/2.

    Args:
        features: (batch, channel, row, column).

    Example:
        >>> gate_channels(torch.ones(1, 3, 2, 2)).unique()
        tensor([1.])
    """
    means = features.mean(dim=(2, 3), keepdim=True)
    maxima = features.amax(dim=(2, 3), keepdim=True)
    return features * (2 * torch.sigmoid(_standardise(means, dim=1) + _standardise(maxima, dim=1)))


def _standardise(values: torch.Tensor, dim: int, floor: float = 1e-6) -> torch.Tensor:
    centred = values - values.mean(dim=dim, keepdim=True)
    # The floor keeps values that are all the same at 0.
    return centred / (centred.square().mean(dim=dim, keepdim=True).sqrt() + floor)
