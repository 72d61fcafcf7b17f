"""Fewer numbers per patch: random projections, PCA, and the registry of all reducers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from flawmap.errors import OptionError
from flawmap.features.aggregation import ChannelAggregation
from flawmap.features.reduction import Projection, Reducer
from flawmap.support.options import Components, check_range
from flawmap.support.tensors import Patches


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

    def __post_init__(self) -> None:
        check_range(self, "dim", 1)
        if not 0 < self.eps < 1:
            raise OptionError(
                f"SparseRandomProjection: eps={self.eps}; use more than 0, less than 1"
            )

    def fit(self, vectors: Patches, blocks: tuple[int, ...], seed: int) -> nn.Module:
        """A `Projection` with a sparse matrix.

        Args:
            vectors: (patch, channel); only their number and that of the channels matter.
            blocks: unused.
            seed: of the matrix.
        """
        del blocks
        count, channels = vectors.shape
        dim = self.dim or _least_dim(count, self.eps)
        if self.dim is None and dim > channels // 2:
            return nn.Identity()
        # Not above: it takes 80 MB of memory, which most fits do without.
        from sklearn import random_projection

        sparse = random_projection.SparseRandomProjection(dim, random_state=seed)
        projection = sparse.fit(np.zeros((1, channels), np.float32))
        return Projection(torch.from_numpy(projection.components_.T.toarray().astype(np.float32)))


def _least_dim(count: int, eps: float) -> int:
    """Numbers that keep all distances among `count` vectors within 1 ± eps.

    Johnson and Lindenstrauss 1984, with the constants of Dasgupta and Gupta 2003; rounded down, as
    scikit-learn's `johnson_lindenstrauss_min_dim` does.
    """
    return int(4 * math.log(count) / (eps**2 / 2 - eps**3 / 3))


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

    def __post_init__(self) -> None:
        check_range(self, "dim", 1)
        check_range(self, "ratio", 0, 1)

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

    def __post_init__(self) -> None:
        check_range(self, "dim", 1)

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

    reads_vectors: ClassVar[bool] = True
    """Their directions are looked for."""

    ratio: float = field(default=0.1, metadata={"symbol": "r"})
    rows: int = 100_000

    def __post_init__(self) -> None:
        check_range(self, "ratio", 0, 1)
        check_range(self, "rows", 1)

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
        from sklearn import decomposition

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
