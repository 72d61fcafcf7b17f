"""Vector quantisation with running means, and the sine encoding of positions.

The quantiser of van den Oord et al. 2017 with a codebook of moving averages, and the position code
of Vaswani et al. 2017 for two axes, as VQ-Flow (Zhou et al. 2024) uses them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from flawmap.support.tensors import Patches

DECAY, SMOOTHING = 0.99, 1e-5
"""How much of a running mean stays each step; what keeps the size of an empty cluster from 0."""

DEAD_CODE_USAGE = 0.1
"""A code that is nearest to fewer vectors a step, in the running mean, is put where a vector is."""

MAX_POSITION_WAVELENGTH = 10_000.0
"""Ratio of the longest wavelength of a position code to the shortest."""


class QuantisedVectors(NamedTuple):
    """What a codebook makes of vectors."""

    vectors: Tensor
    """The nearest codes; their gradients go straight through to the vectors that came."""
    commitment: Tensor
    """The mean square of how far those are from their codes; makes them stay near."""


class Codebook(nn.Module):
    """Codes e_k; x becomes the nearest of them.

    They learn as running means of what comes to them, by no gradient.

    In training n_k and m_k follow the number and the sum of the vectors that are nearest to e_k;
    e_k = m_k / n̂_k with n̂_k = (n_k + ε) / (Σ n + K ε) · Σ n.

    Args:
        codes: how many, K.
        length: of each.
    """

    def __init__(self, codes: int, length: int) -> None:
        super().__init__()
        self.codes: Tensor
        self.sizes: Tensor
        self.sums: Tensor
        self.register_buffer("codes", torch.randn(codes, length))
        self.register_buffer("sizes", torch.ones(codes))
        self.register_buffer("sums", self.codes.clone())

    def forward(self, vectors: Patches) -> QuantisedVectors:
        """Quantise vectors; in training the codes move a little."""
        # |x − e|² without |x|², which is the same for all codes.
        nearest = (self.codes.square().sum(dim=1) - 2 * vectors @ self.codes.mT).argmin(dim=1)
        chosen = functional.embedding(nearest, self.codes)
        if self.training:
            self._follow(vectors.detach(), nearest)
        commitment = (vectors - chosen).square().mean()
        return QuantisedVectors(vectors + (chosen - vectors).detach(), commitment)

    def _follow(self, vectors: Patches, nearest: Tensor) -> None:
        belongs = functional.one_hot(nearest, len(self.codes)).to(vectors.dtype)
        self.sizes.lerp_(belongs.sum(dim=0), 1 - DECAY)
        self.sums.lerp_(belongs.mT @ vectors, 1 - DECAY)
        total, dead = self.sizes.sum(), self.sizes < DEAD_CODE_USAGE
        smoothed = (self.sizes + SMOOTHING) / (total + len(self.sizes) * SMOOTHING) * total
        # A new tensor: the old one is still needed on the way back.
        self.codes = self.sums / smoothed[:, None]
        some = vectors[torch.randint(len(vectors), (len(dead),), device=vectors.device)]
        self.codes = torch.where(dead[:, None], some, self.codes)
        self.sums = torch.where(dead[:, None], some, self.sums)
        self.sizes = torch.where(dead, torch.ones_like(self.sizes), self.sizes)


def sinusoidal_position_encoding(
    length: int, rows: int, columns: int, device: torch.device | None = None
) -> Tensor:
    """Say where each position is.

    (length, row, column), the first half by column, the second by row.

    In each half sine and cosine alternate, of the place times 10000^(−2 i / half) for the i-th
    pair; `length` is divisible by 4.
    """
    pairs = torch.arange(length // 4, dtype=torch.float32, device=device)
    pace = MAX_POSITION_WAVELENGTH ** (-pairs / (length // 4))

    def along(places: int) -> Tensor:
        angles = pace[:, None] * torch.arange(places, dtype=torch.float32, device=device)
        return torch.stack([angles.sin(), angles.cos()], dim=1).flatten(0, 1)

    across = along(columns)[:, None, :].expand(-1, rows, -1)
    down = along(rows)[:, :, None].expand(-1, -1, columns)
    return torch.cat([across, down])
