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
    """Vectors of good patches, to compare patches with.

    Args:
        vectors: (vector, channel).
        image_ids: number of the image that each vector came from, (vector,).
        squares: ‖v‖² of each vector, (vector,), infinite for those to be passed over; None works
            them out.

    Example:
        >>> bank = Bank(torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.tensor([0, 1]))
        >>> bank(torch.zeros(1, 1, 1, 2) + 3).distances
        tensor([[[1.]]])
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
        """Distance to the bank and nearest row of each patch, both (image, row, column).

        Args:
            grid: the patches, (image, row, column, channel).
        """
        patches = rearrange(grid, "b h w c -> (b h w) c")
        distances, rows = nearest(patches, self.vectors, squares=self.squares)
        shape = grid.shape[:3]
        return Nearest(distances.reshape(shape), rows.reshape(shape))

    def __len__(self) -> int:
        """The number of vectors that are not passed over."""
        return self._count


@dataclass(frozen=True)
class ImageScore(ABC):
    """How the distances of an image's patches make one score."""

    @abstractmethod
    def __call__(self, grid: PatchGrid, nearest_vectors: Nearest, bank: Bank) -> PerImage:
        """The score of each image of a batch, (image,), >= 0.

        Args:
            grid: the patches, (image, row, column, channel).
            nearest_vectors: distance to the bank and nearest row of each patch.
            bank: the bank that they were compared with.
        """


@dataclass(frozen=True)
class Maximum(ImageScore):
    """An image is as anomalous as its most anomalous patch.

    Example:
        >>> bank = Bank(torch.zeros(1, 2), torch.tensor([0]))
        >>> grid = torch.tensor([[[[3.0, 4.0], [0.0, 1.0]]]])
        >>> Maximum()(grid, bank(grid), bank)
        tensor([5.])
    """

    def __call__(self, grid: PatchGrid, nearest_vectors: Nearest, bank: Bank) -> PerImage:
        """The largest distance of each image, (image,).

        Args:
            grid: unused.
            nearest_vectors: distance to the bank of each patch.
            bank: unused.
        """
        del grid, bank
        return nearest_vectors.distances.amax(dim=(1, 2))


@dataclass(frozen=True)
class Reweighted(ImageScore):
    """The most anomalous patch's distance, weighted (Roth et al. 2022, eqs. 6–7).

    The weight is smaller where the nearest vector is itself far from its neighbours.

    Args:
        neighbours: how many of the bank's vectors around that nearest one count (b in the paper),
            itself included.

    Example:
        >>> bank = Bank(torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1]))
        >>> grid = torch.tensor([[[[3.0], [0.0]]]])
        >>> Reweighted(neighbours=2)(grid, bank(grid), bank)
        tensor([1.4621])
    """

    neighbours: int = 9

    def __call__(self, grid: PatchGrid, nearest_vectors: Nearest, bank: Bank) -> PerImage:
        """The weighted largest distance of each image, (image,).

        Args:
            grid: the patches, (image, row, column, channel).
            nearest_vectors: distance to the bank and nearest row of each patch.
            bank: the bank that they were compared with.
        """
        distance, position = nearest_vectors.distances.flatten(1).max(dim=1)
        expanded = position[:, None, None].expand(-1, 1, grid.shape[3])
        most_anomalous = grid.flatten(1, 2).gather(1, expanded)
        closest = nearest_vectors.rows.flatten(1).gather(1, position[:, None])[:, 0]
        # ‖m* − v‖² but for ‖m*‖², as in `nearest`; what the bank passes over is infinitely far.
        terms = torch.addmm(bank.squares, bank.vectors[closest], bank.vectors.T, alpha=-2)
        around = terms.topk(min(self.neighbours, len(bank)), largest=False).indices
        return reweight(distance, (most_anomalous - bank.vectors[around]).norm(dim=-1))


def reweight(distance: PerImage, around: Tensor) -> PerImage:
    """Each distance, weighted by how it compares with those to the vectors around the nearest.

    (1 − eᵈ / Σ eᵈⁱ) d, Roth et al. 2022, eq. 7.

    Args:
        distance: d, the distance of each image's most anomalous patch to the nearest vector.
        around: dᵢ, that patch's distances to the nearest vector and its neighbours, (batch,
            neighbour).

    Example:
        >>> reweight(torch.tensor([2.0]), torch.tensor([[2.0, 2.5, 3.0]]))
        tensor([1.6274])
    """
    return (1 - torch.exp(distance - around.logsumexp(dim=1))) * distance
