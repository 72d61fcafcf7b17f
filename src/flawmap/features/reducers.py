"""Fewer numbers per patch: channel aggregation, random projections, PCA.

A reducer is its options; `fit` gives the module that reduces. Those that need not look at the
vectors (`learns` is False) are drawn from the seed alone, so vectors can be reduced as they come.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from sklearn import decomposition, random_projection
from torch import Tensor, nn

from flawmap.errors import OptionError
from flawmap.support.tensors import Patches

Grouping = Literal["permuted", "contiguous", "permuted_within_layer", "random_cuts"]
Remainder = Literal["spread", "drop", "last", "extra", "adaptive"]
Aggregate = Literal["mean", "sum", "orthonormal", "max"]

_POWERS = {"mean": -1.0, "orthonormal": -0.5, "sum": 0.0}
"""A channel's weight in its group is the group's size to this power."""


class Projection(nn.Module):
    """vectors · matrix − offset."""

    def __init__(self, matrix: Tensor, offset: Tensor | None = None) -> None:
        super().__init__()
        self.matrix: Tensor
        self.offset: Tensor
        self.register_buffer("matrix", matrix)
        self.register_buffer("offset", torch.zeros(matrix.shape[1]) if offset is None else offset)

    def forward(self, vectors: Tensor) -> Tensor:
        """Project the last axis."""
        return vectors @ self.matrix - self.offset


class GroupMax(nn.Module):
    """The largest of each group of channels."""

    def __init__(self, groups: Tensor) -> None:
        super().__init__()
        self.groups: Tensor
        self.register_buffer("groups", groups)

    def forward(self, vectors: Tensor) -> Tensor:
        """Aggregate the last axis.

        A row of `groups` lists the channels of one group, some of them twice.
        """
        return vectors[..., self.groups].amax(dim=-1)


def load_reducer(state: dict[str, Tensor]) -> nn.Module:
    """Rebuild what `Reducer.fit` gave from its tensors; none mean no reduction."""
    if "groups" in state:
        return GroupMax(state["groups"])
    return Projection(state["matrix"], state["offset"]) if state else nn.Identity()


@dataclass(frozen=True)
class Reducer(ABC):
    """Options of a reduction; `fit` gives the module."""

    needs_fit: ClassVar[bool] = False
    """Whether `fit` needs all the vectors at hand, or only to know their channels."""

    @abstractmethod
    def fit(self, vectors: Patches, blocks: tuple[int, ...], seed: int) -> nn.Module:
        """Make the module that reduces vectors like these.

        Args:
            vectors: those to reduce; a reducer that does not learn reads only their channels.
            blocks: the sizes of the runs of channels that come from one source.
            seed: of whatever is random.
        """


@dataclass(frozen=True)
class NoReduction(Reducer):
    """Leave the vectors as they are."""

    def fit(self, vectors: Patches, blocks: tuple[int, ...], seed: int) -> nn.Module:
        """Give the identity."""
        del vectors, blocks, seed
        return nn.Identity()


@dataclass(frozen=True)
class ChannelAggregation(Reducer):
    """Average groups of channels (Li et al.

    2025, eqs. 3–5: "randomly divided into contiguous subgroups").

    Args:
        ratio: groups as a share of the channels, 0…1; 0.1 of 1536 channels makes 153 groups.
        grouping: `perm` cuts a random permutation of all channels into runs, the only reading in
            which "random", "contiguous" and equal groups all hold; `contig` cuts the natural order;
            `perm-within` permutes inside each source only; `cuts` cuts the natural order at random
            places.
        remainder: who takes the channels that do not divide: `spread` gives the first groups one
            more, `drop` leaves them out, `last` puts them into the last group, `extra` makes a
            group of them, `adaptive` lets equal windows overlap.
        aggregate: `mean`; `sum`; `orthonormal`, the sum over √size, which is an orthogonal
            projection; `max`.
    """

    ratio: float = 0.1
    grouping: Grouping = "permuted"
    remainder: Remainder = "spread"
    aggregate: Aggregate = "mean"

    def __post_init__(self) -> None:
        if not 0 < self.ratio <= 1:
            raise OptionError(
                f"aggregation ratio {self.ratio} is not a share; use more than 0 and at most 1"
            )

    def fit(self, vectors: Patches, blocks: tuple[int, ...], seed: int) -> nn.Module:
        """Draw the groups."""
        groups = self.groups(vectors.shape[-1], blocks, seed)
        if self.aggregate == "max":
            widest = max(map(len, groups))
            return GroupMax(torch.tensor(np.stack([np.resize(group, widest) for group in groups])))
        matrix = torch.zeros(vectors.shape[-1], len(groups))
        for column, group in enumerate(groups):
            matrix[group, column] = len(group) ** _POWERS[self.aggregate]
        return Projection(matrix)

    def groups(self, channels: int, blocks: tuple[int, ...], seed: int) -> list[np.ndarray]:
        """List the channels of each group."""
        count = max(1, int(channels * self.ratio))
        rng = np.random.default_rng(seed)
        order = np.arange(channels)
        if self.grouping == "permuted":
            order = rng.permutation(channels)
        elif self.grouping == "permuted_within_layer":
            order = np.concatenate(
                [rng.permutation(run) for run in np.split(order, np.cumsum(blocks)[:-1])]
            )
        elif self.grouping == "random_cuts":
            return np.split(
                order, np.sort(rng.choice(np.arange(1, channels), count - 1, replace=False))
            )
        return _cut(order, count, self.remainder)


def _cut(order: np.ndarray, count: int, remainder: Remainder) -> list[np.ndarray]:
    channels, size = len(order), len(order) // count
    if remainder == "spread":
        return np.array_split(order, count)
    if remainder == "adaptive":
        starts, ends = (
            np.arange(count) * channels // count,
            -(-np.arange(1, count + 1) * channels // count),
        )
        return [order[start:end] for start, end in zip(starts, ends, strict=True)]
    groups = np.split(order[: count * size], count)
    rest = order[count * size :]
    if remainder == "last":
        groups[-1] = np.concatenate([groups[-1], rest])
    return [*groups, rest] if remainder == "extra" and len(rest) else groups


@dataclass(frozen=True)
class SparseRandomProjection(Reducer):
    """Sparse random projection (Li, Hastie & Church 2006).

    The number of channels is what Johnson–Lindenstrauss asks for.

    Args:
        dim: numbers to keep; None takes ⌊4 ln N / (ε²/2 − ε³/3)⌋ for N vectors, or leaves the
            vectors as they are where that is more than half of what they have: the product would
            cost more than it saves.
        eps: ε, how much a squared distance may be off.
    """

    needs_fit: ClassVar[bool] = True  # how many vectors there are

    dim: int | None = None
    eps: float = 0.9

    def fit(self, vectors: Patches, blocks: tuple[int, ...], seed: int) -> nn.Module:
        """Draw the matrix: density 1/√D, non-zeros ±√√D/√dim."""
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
        dim: numbers to keep; None for `ratio` of the channels.
        ratio: numbers to keep as a share of the channels, 0…1.
    """

    dim: int | None = None
    ratio: float = 0.1

    def fit(self, vectors: Patches, blocks: tuple[int, ...], seed: int) -> nn.Module:
        """Draw the matrix."""
        del blocks
        channels = vectors.shape[-1]
        dim = self.dim or max(1, int(channels * self.ratio))
        matrix = torch.randn(channels, dim, generator=torch.Generator().manual_seed(seed))
        return Projection(matrix * dim**-0.5)


@dataclass(frozen=True)
class UniformRandomProjection(Reducer):
    """Uniform random projection, a linear layer as it is initialised (PatchCore's official code).

    Args:
        dim: numbers to keep.
    """

    dim: int = 128

    def fit(self, vectors: Patches, blocks: tuple[int, ...], seed: int) -> nn.Module:
        """Draw the matrix: entries U(−1/√D, 1/√D)."""
        del blocks
        channels = vectors.shape[-1]
        uniform = torch.rand(channels, self.dim, generator=torch.Generator().manual_seed(seed))
        return Projection((2 * uniform - 1) * channels**-0.5)


@dataclass(frozen=True)
class PCA(Reducer):
    """Principal components, centred, not whitened, from at most `rows` random vectors.

    Args:
        ratio: components as a share of the channels, 0…1.
        rows: vectors to learn from, at most.
    """

    needs_fit: ClassVar[bool] = True

    ratio: float = 0.1
    rows: int = 100_000

    def fit(self, vectors: Patches, blocks: tuple[int, ...], seed: int) -> nn.Module:
        """Find the directions in which the vectors vary most."""
        del blocks
        count, channels = vectors.shape
        chosen = np.sort(np.random.default_rng(seed).permutation(count)[: self.rows])
        components = max(1, min(int(channels * self.ratio), len(chosen)))
        pca = decomposition.PCA(components, svd_solver="covariance_eigh").fit(
            vectors[chosen].double().numpy()
        )
        matrix = torch.from_numpy(pca.components_.T)
        return Projection(matrix.float(), (torch.from_numpy(pca.mean_) @ matrix).float())
