"""Vector quantisation with running means, and the sine encoding of positions.

The quantiser of van den Oord et al. 2017 with a codebook of moving averages, and the position
encoding of Vaswani et al. 2017 for two axes, as VQ-Flow (Zhou et al. 2024) uses them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from flawmap.features.tensor_shapes import Scalar
from flawmap.support.tensors import Patches

_PositionEncoding = Float[Tensor, "_length _row _column"]
"""A vector for each position of a map, the same for all images."""

_DECAY = 0.99
"""How much of a running mean stays in each step."""

_SMOOTHING = 1e-5
"""Keeps the size of an empty cluster from being 0."""

_DEAD_CODE_USAGE = 0.1
"""A code that is nearest to fewer vectors a step, in the running mean, is replaced by a vector."""

_MAX_POSITION_WAVELENGTH = 10_000.0
"""Ratio of the longest wavelength of a position encoding to the shortest."""


class _QuantisedVectors(NamedTuple):
    """The output of a codebook.

    Args:
        vectors: the nearest code of each vector; gradients go straight through to the vector.
        commitment: mean square distance of the vectors from their codes, a part of the loss.
    """

    vectors: Patches
    commitment: Scalar


class Codebook(nn.Module):
    """Replaces each vector by the nearest of a few codes e_k.

    Codes are no parameters but running means. In training n_k and m_k follow the number and the sum
    of the vectors that are nearest to e_k. Then e_k = m_k / n̂_k,
    with n̂_k = (n_k + ε) / (Σ n + K ε) · Σ n.

    Args:
        num_codes: number of codes, K.
        length: of a code.

    Example:
        >>> codebook = Codebook(num_codes=5, length=3).eval()
        >>> codebook(torch.randn(7, 3)).vectors.shape
        torch.Size([7, 3])
    """

    def __init__(self, num_codes: int, length: int) -> None:
        super().__init__()
        self.codes: Tensor
        self.sizes: Tensor
        self.sums: Tensor
        self.register_buffer("codes", torch.randn(num_codes, length))
        self.register_buffer("sizes", torch.ones(num_codes))
        self.register_buffer("sums", self.codes.clone())

    def forward(self, vectors: Patches) -> _QuantisedVectors:
        """Quantise vectors; in training the codes move a little.

        Args:
            vectors: (vector, channel).
        """
        # |x − e|² without |x|², which is the same for all codes.
        squares = self.codes.square().sum(dim=1)
        terms = squares - 2 * vectors @ self.codes.mT
        nearest = terms.argmin(dim=1)
        codes = functional.embedding(nearest, self.codes)
        if self.training:
            self._update(vectors.detach(), nearest)
        commitment = (vectors - codes).square().mean()
        return _QuantisedVectors(vectors + (codes - vectors).detach(), commitment)

    def _update(self, vectors: Patches, nearest: Tensor) -> None:
        """Let the running means follow a batch; codes that are nearest to nothing are moved."""
        belongs = functional.one_hot(nearest, len(self.codes)).to(vectors.dtype)
        self.sizes.lerp_(belongs.sum(dim=0), 1 - _DECAY)
        self.sums.lerp_(belongs.mT @ vectors, 1 - _DECAY)
        total = self.sizes.sum()
        dead = self.sizes < _DEAD_CODE_USAGE
        smoothed = (self.sizes + _SMOOTHING) / (total + len(self.sizes) * _SMOOTHING) * total
        # A new tensor: the old one is still needed in the backward pass.
        self.codes = self.sums / smoothed[:, None]
        rows = torch.randint(len(vectors), (len(dead),), device=vectors.device)
        self.codes = torch.where(dead[:, None], vectors[rows], self.codes)
        self.sums = torch.where(dead[:, None], vectors[rows], self.sums)
        self.sizes = torch.where(dead, torch.ones_like(self.sizes), self.sizes)


def sinusoidal_position_encoding(
    length: int, rows: int, columns: int, device: torch.device | None = None
) -> _PositionEncoding:
    """A vector for each position, (length, row, column): the first half by column, then by row.

    In each half sine and cosine alternate, of the position times 10000^(−2 i / half) for the i-th
    pair.

    Args:
        length: of a vector, divisible by 4.
        rows: of the map.
        columns: of the map.
        device: where it is made; None for the default.

    >>> sinusoidal_position_encoding(4, 2, 3)[:, 0, 0]
    tensor([0., 1., 0., 1.])
    """
    pairs = torch.arange(length // 4, dtype=torch.float32, device=device)
    frequencies = _MAX_POSITION_WAVELENGTH ** (-pairs / (length // 4))
    by_column = _waves(columns, frequencies)[:, None, :].expand(-1, rows, -1)
    by_row = _waves(rows, frequencies)[:, :, None].expand(-1, -1, columns)
    return torch.cat([by_column, by_row])


def _waves(count: int, frequencies: Tensor) -> Tensor:
    """Sine and cosine of each frequency at positions 0, 1, …, (2 · frequency, position)."""
    positions = torch.arange(count, dtype=torch.float32, device=frequencies.device)
    angles = frequencies[:, None] * positions
    return torch.stack([angles.sin(), angles.cos()], dim=1).flatten(0, 1)
