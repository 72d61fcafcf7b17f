"""Fewer numbers per patch: channel aggregation, random projections, PCA.

A reducer is its options; `fit` returns the module that reduces. Where `needs_fit` is False, that
module follows from the seed and the number of channels alone, so vectors can be reduced batch by
batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import torch
from sklearn import decomposition, random_projection
from torch import Tensor, nn

from flawmap.errors import OptionError
from flawmap.support.options import Components
from flawmap.support.tensors import Patches


class Projection(nn.Module):
    """Vectors times a matrix, minus an offset.

    Args:
        matrix: (channel, reduced channel).
        offset: (reduced channel,); None for zeros.

    Example:
        >>> Projection(torch.ones(3, 1), torch.tensor([1.0]))(torch.ones(2, 3)).flatten()
        tensor([2., 2.])
    """

    def __init__(self, matrix: Tensor, offset: Tensor | None = None) -> None:
        super().__init__()
        self.matrix: Tensor
        self.offset: Tensor
        self.register_buffer("matrix", matrix)
        self.register_buffer("offset", torch.zeros(matrix.shape[1]) if offset is None else offset)

    def forward(self, vectors: Tensor) -> Tensor:
        """The reduced vectors, (..., reduced channel).

        Args:
            vectors: (..., channel).
        """
        return vectors @ self.matrix - self.offset


class GroupMax(nn.Module):
    """The largest of each group of channels.

    Args:
        groups: (group, member), numbers of channels from 0; a short group repeats some.

    Example:
        >>> GroupMax(torch.tensor([[0, 1], [2, 2]]))(torch.tensor([[5.0, 7.0, 1.0]]))
        tensor([[7., 1.]])
    """

    def __init__(self, groups: Tensor) -> None:
        super().__init__()
        self.groups: Tensor
        self.register_buffer("groups", groups)

    def forward(self, vectors: Tensor) -> Tensor:
        """The reduced vectors, (..., group).

        Args:
            vectors: (..., channel).
        """
        return vectors[..., self.groups].amax(dim=-1)


@dataclass(frozen=True)
class Reducer(ABC):
    """Options of a reduction.

    A reducer of your own is a frozen dataclass with this base, registered in `REDUCERS`; see
    docs/plugins.md.
    """

    needs_fit: ClassVar[bool] = False
    """Whether `fit` needs all the vectors at hand, or their number of channels alone."""

    @abstractmethod
    def fit(self, vectors: Patches, blocks: tuple[int, ...], seed: int) -> nn.Module:
        """The module that reduces vectors like these, (..., channel) to (..., reduced channel).

        Args:
            vectors: those to reduce; without `needs_fit`, all but their channels is meaningless.
            blocks: lengths of the runs of channels that come from one source.
            seed: of everything random.
        """

    def load(self, state: dict[str, Tensor]) -> nn.Module:
        """The module that `fit` returned, from its tensors.

        Here a `Projection`, a `GroupMax` or the identity; a reducer with a module of its own
        overrides it.

        Args:
            state: the module's `state_dict`.
        """
        if "groups" in state:
            return GroupMax(state["groups"])
        return Projection(state["matrix"], state["offset"]) if state else nn.Identity()


@dataclass(frozen=True)
class NoReduction(Reducer):
    """Leaves the vectors as they are.

    Example:
        >>> NoReduction().fit(torch.ones(6, 4), (4,), seed=0)
        Identity()
    """

    def fit(self, vectors: Patches, blocks: tuple[int, ...], seed: int) -> nn.Module:
        """The identity.

        Args:
            vectors: unused.
            blocks: unused.
            seed: unused.
        """
        del vectors, blocks, seed
        return nn.Identity()


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

    Raises:
        OptionError: the ratio is no fraction.

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

    def __post_init__(self) -> None:
        if not 0 < self.ratio <= 1:
            raise OptionError(
                f"aggregation ratio {self.ratio} is not a fraction; use more than 0 and at most 1"
            )

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
        count = max(1, int(channels * self.ratio))
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


@dataclass(frozen=True)
class SparseRandomProjection(Reducer):
    """Sparse random projection (Li, Hastie & Church 2006): density 1/√D, non-zeros ±√√D/√dim.

    Args:
        dim: channels to keep, >= 1. None takes as many as Johnson and Lindenstrauss ask for,
            ⌊4 ln N / (ε²/2 − ε³/3)⌋ for N vectors, or leaves the vectors as they are where that is
            more than half of what they have: the product would cost more than it saves.
        eps: ε, by which fraction a squared distance may be off, 0…1 exclusive.

    Example:
        >>> SparseRandomProjection(dim=8).fit(torch.ones(6, 64), (64,), seed=0).matrix.shape
        torch.Size([64, 8])
    """

    needs_fit: ClassVar[bool] = True
    """The number of vectors matters."""

    dim: int | None = field(default=None, metadata={"symbol": "D_r"})
    eps: float = field(default=0.9, metadata={"symbol": "ε"})

    def fit(self, vectors: Patches, blocks: tuple[int, ...], seed: int) -> nn.Module:
        """A `Projection` with a sparse matrix.

        Args:
            vectors: (patch, channel); only their number and that of the channels matter.
            blocks: unused.
            seed: of the matrix.
        """
        del blocks
        count, channels = vectors.shape
        dim = self.dim or int(random_projection.johnson_lindenstrauss_min_dim(count, eps=self.eps))
        if self.dim is None and dim > channels // 2:
            return nn.Identity()
        sparse = random_projection.SparseRandomProjection(dim, random_state=seed)
        projection = sparse.fit(np.zeros((1, channels), np.float32))
        return Projection(torch.from_numpy(projection.components_.T.toarray().astype(np.float32)))


@dataclass(frozen=True)
class GaussianRandomProjection(Reducer):
    """Gaussian random projection: entries N(0, 1/dim).

    Args:
        dim: channels to keep, >= 1; None for `ratio` of the channels.
        ratio: channels to keep as a fraction of all, 0…1.

    Example:
        >>> GaussianRandomProjection(ratio=0.25).fit(torch.ones(6, 8), (8,), seed=0).matrix.shape
        torch.Size([8, 2])
    """

    dim: int | None = field(default=None, metadata={"symbol": "D_r"})
    ratio: float = field(default=0.1, metadata={"symbol": "r"})

    def fit(self, vectors: Patches, blocks: tuple[int, ...], seed: int) -> nn.Module:
        """A `Projection` with a dense matrix.

        Args:
            vectors: (patch, channel); only the number of channels matters.
            blocks: unused.
            seed: of the matrix.
        """
        del blocks
        channels = vectors.shape[-1]
        dim = self.dim or max(1, int(channels * self.ratio))
        matrix = torch.randn(channels, dim, generator=torch.Generator().manual_seed(seed))
        return Projection(matrix * dim**-0.5)


@dataclass(frozen=True)
class UniformRandomProjection(Reducer):
    """Uniform random projection, a linear layer as it is initialised (PatchCore's official code).

    Args:
        dim: channels to keep, >= 1.

    Example:
        >>> UniformRandomProjection(4).fit(torch.ones(6, 8), (8,), seed=0).matrix.shape
        torch.Size([8, 4])
    """

    dim: int = field(default=128, metadata={"symbol": "D_r"})

    def fit(self, vectors: Patches, blocks: tuple[int, ...], seed: int) -> nn.Module:
        """A `Projection` with entries U(−1/√D, 1/√D) for D channels.

        Args:
            vectors: (patch, channel); only the number of channels matters.
            blocks: unused.
            seed: of the matrix.
        """
        del blocks
        channels = vectors.shape[-1]
        uniform = torch.rand(channels, self.dim, generator=torch.Generator().manual_seed(seed))
        return Projection((2 * uniform - 1) * channels**-0.5)


@dataclass(frozen=True)
class PCA(Reducer):
    """Principal components, centred, not whitened, from at most `rows` random vectors.

    Args:
        ratio: components as a fraction of the channels, 0…1.
        rows: largest number of vectors to fit on.

    Example:
        >>> PCA(ratio=0.5).fit(torch.rand(6, 4), (4,), seed=0)(torch.rand(3, 4)).shape
        torch.Size([3, 2])
    """

    needs_fit: ClassVar[bool] = True
    """The vectors matter."""

    ratio: float = field(default=0.1, metadata={"symbol": "r"})
    rows: int = 100_000

    def fit(self, vectors: Patches, blocks: tuple[int, ...], seed: int) -> nn.Module:
        """A `Projection` onto the directions in which the vectors vary most.

        Args:
            vectors: (patch, channel).
            blocks: unused.
            seed: of the choice of vectors, where there are more than `rows`.
        """
        del blocks
        count, channels = vectors.shape
        rows = np.sort(np.random.default_rng(seed).permutation(count)[: self.rows])
        components = max(1, min(int(channels * self.ratio), len(rows)))
        pca = decomposition.PCA(components, svd_solver="covariance_eigh")
        pca.fit(vectors[rows].double().numpy())
        matrix = torch.from_numpy(pca.components_.T)
        return Projection(matrix.float(), (torch.from_numpy(pca.mean_) @ matrix).float())


REDUCERS = Components(
    "reducer",
    Reducer,
    [
        NoReduction,
        ChannelAggregation,
        SparseRandomProjection,
        GaussianRandomProjection,
        UniformRandomProjection,
        PCA,
    ],
)
"""All reducers by name; other packages may add theirs."""
