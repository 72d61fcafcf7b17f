"""The bank: vectors of good patches, the image of each, and distances to them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from flawmap.memory.neighbours import Nearest, nearest
from flawmap.support.tensors import PatchGrid, PerImage


class Bank(nn.Module):
    """Vectors to compare with.

    Args:
        vectors: (vector, channel).
        image_ids: the number of the image each vector came from.
        squares: ‖v‖² of each vector, infinite for those to be passed over; worked out where not
            given.
    """

    def __init__(self, vectors: Tensor, image_ids: Tensor, squares: Tensor | None = None) -> None:
        super().__init__()
        self.vectors: Tensor
        self.image_ids: Tensor
        self.squares: Tensor
        self.register_buffer("vectors", vectors)
        self.register_buffer("image_ids", image_ids)
        squares = vectors.square().sum(dim=1) if squares is None else squares
        self.register_buffer("squares", squares, persistent=False)
        self._count = int(torch.isfinite(squares).sum())

    def forward(self, grid: PatchGrid) -> Nearest:
        """Distance to the bank and nearest row of each patch, both (image, row, column)."""
        found = nearest(rearrange(grid, "b h w c -> (b h w) c"), self.vectors, squares=self.squares)
        return Nearest(found.distances.reshape(grid.shape[:3]), found.rows.reshape(grid.shape[:3]))

    def __len__(self) -> int:
        """Count the vectors that are not passed over."""
        return self._count


@dataclass(frozen=True)
class ImageScore(ABC):
    """How the distances of an image's patches make one score."""

    @abstractmethod
    def __call__(self, grid: PatchGrid, found: Nearest, bank: Bank) -> PerImage:
        """Score each image of a batch.

        Args:
            grid: the patches.
            found: what `bank` said of them.
            bank: the bank that was asked.
        """


@dataclass(frozen=True)
class Maximum(ImageScore):
    """An image is as odd as its oddest patch."""

    def __call__(self, grid: PatchGrid, found: Nearest, bank: Bank) -> PerImage:
        """Take the largest distance of each image."""
        del grid, bank
        return found.distances.amax(dim=(1, 2))


@dataclass(frozen=True)
class Reweighted(ImageScore):
    """The most anomalous patch's distance, weighted (Roth et al. 2022, eqs. 6–7).

    The weight is smaller where the nearest vector is itself far from its neighbours.

    Args:
        neighbours: how many of the bank's vectors around that nearest one count, itself included.
    """

    neighbours: int = 9

    def __call__(self, grid: PatchGrid, found: Nearest, bank: Bank) -> PerImage:
        """Weigh the largest distance of each image."""
        distance, place = found.distances.flatten(1).max(dim=1)
        oddest = grid.flatten(1, 2).gather(1, place[:, None, None].expand(-1, 1, grid.shape[3]))
        closest = found.rows.flatten(1).gather(1, place[:, None])[:, 0]
        # ‖m* − v‖² but for ‖m*‖², as in `nearest`; what the bank passes over is infinitely far.
        away = torch.addmm(bank.squares, bank.vectors[closest], bank.vectors.T, alpha=-2)
        around = away.topk(min(self.neighbours, len(bank)), largest=False).indices
        return reweight(distance, (oddest - bank.vectors[around]).norm(dim=-1))


def reweight(distance: PerImage, around: Tensor) -> PerImage:
    """Weigh a distance by how it compares with those to the vectors around the nearest.

    (1 − eᵈ / Σ eᵈⁱ) d.

    >>> reweight(torch.tensor([2.0]), torch.tensor([[2.0, 2.5, 3.0]]))
    tensor([1.6274])
    """
    return (1 - torch.exp(distance - around.logsumexp(dim=1))) * distance
