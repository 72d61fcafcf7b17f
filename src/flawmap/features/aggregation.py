"""Channel aggregation: means of groups of channels (Li et al. 2025)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import nn

from flawmap.errors import OptionError
from flawmap.features.reduction import GroupMax, Projection, Reducer
from flawmap.support.options import check_range
from flawmap.support.tensors import Patches


@dataclass(frozen=True)
class ChannelAggregation(Reducer):
    """Averages groups of channels (Li et al. 2025, eqs. 3–5).

    The paper's words are "randomly divided into contiguous subgroups"; its other readings are
    options.

    Args:
        ratio: number of groups as a fraction of the channels, more than 0 and at most 1; 0.1 of
            1536 channels makes 153 groups.
        grouping: `permuted` cuts a random permutation of all channels into runs, the only reading
            in which "random", "contiguous" and equal groups all hold; `contiguous` cuts the natural
            order; `permuted_within_layer` permutes inside each source only; `random_cuts` cuts the
            natural order at random positions.
        remainder: which groups take the channels that do not divide: `spread` adds one to each of
            the first groups, `drop` drops them, `last` adds them to the last group, `extra` makes a
            group of them, `adaptive` lets equal windows overlap.
        aggregate: `mean`; `sum`; `orthonormal`, the sum over √size, which is an orthogonal
            projection; `max`.
        min_channels: least number of groups, >= 1: C channels make max(⌊ratio C⌋, min(C,
            min_channels)) groups. The paper has no such number, but 1536 channels, of which a tenth
            is enough; a tenth of a small network's 152 is not.

    Raises:
        OptionError: the ratio is no fraction, or there is no group.

    Example:
        >>> reduce = ChannelAggregation(ratio=0.5).fit(torch.ones(6, 4), (4,), seed=0)
        >>> reduce(torch.ones(2, 4))
        tensor([[1., 1.],
                [1., 1.]])
    """

    ratio: float = field(default=0.1, metadata={"symbol": "r"})
    grouping: Literal["permuted", "contiguous", "permuted_within_layer", "random_cuts"] = "permuted"
    remainder: Literal["spread", "drop", "last", "extra", "adaptive"] = "spread"
    aggregate: Literal["mean", "sum", "orthonormal", "max"] = "mean"
    min_channels: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.ratio <= 1:
            raise OptionError(
                f"aggregation ratio {self.ratio} is not a fraction; use more than 0 and at most 1"
            )
        check_range(self, "min_channels", 1)

    def fit(self, vectors: Patches, blocks: tuple[int, ...], seed: int) -> nn.Module:
        """The module that aggregates each group.

        Args:
            vectors: (patch, channel); only the number of channels matters.
            blocks: lengths of the runs of channels that come from one source.
            seed: of the permutation or the cuts.
        """
        groups = self.groups(vectors.shape[-1], blocks, seed)
        if self.aggregate == "max":
            max_size = max(map(len, groups))
            padded = [np.resize(group, max_size) for group in groups]
            return GroupMax(torch.tensor(np.stack(padded)))
        matrix = torch.zeros(vectors.shape[-1], len(groups))
        for column, group in enumerate(groups):
            matrix[group, column] = len(group) ** _POWERS[self.aggregate]
        return Projection(matrix)

    def groups(self, channels: int, blocks: tuple[int, ...], seed: int) -> list[np.ndarray]:
        """The channels of each group, from 0.

        Args:
            channels: how many there are.
            blocks: lengths of the runs of channels that come from one source.
            seed: of the permutation or the cuts.
        """
        count = max(int(channels * self.ratio), min(channels, self.min_channels))
        rng = np.random.default_rng(seed)
        order = np.arange(channels)
        if self.grouping == "random_cuts":
            cuts = rng.choice(np.arange(1, channels), count - 1, replace=False)
            return np.split(order, np.sort(cuts))
        if self.grouping == "permuted":
            order = rng.permutation(channels)
        if self.grouping == "permuted_within_layer":
            runs = np.split(order, np.cumsum(blocks)[:-1])
            order = np.concatenate([rng.permutation(run) for run in runs])
        if self.remainder == "spread":
            return np.array_split(order, count)
        if self.remainder == "adaptive":
            return _overlapping(order, count)
        return self._equal_groups(order, count)

    def _equal_groups(self, order: np.ndarray, count: int) -> list[np.ndarray]:
        size = len(order) // count
        groups = np.split(order[: count * size], count)
        rest = order[count * size :]
        if self.remainder == "last":
            groups[-1] = np.concatenate([groups[-1], rest])
        if self.remainder == "extra" and len(rest):
            groups.append(rest)
        return groups


_POWERS = {"mean": -1.0, "orthonormal": -0.5, "sum": 0.0}
"""A channel's weight in its group is the group's size to this power."""


def _overlapping(order: np.ndarray, count: int) -> list[np.ndarray]:
    channels = len(order)
    starts = np.arange(count) * channels // count
    ends = -(-np.arange(1, count + 1) * channels // count)
    return [order[start:end] for start, end in zip(starts, ends, strict=True)]
