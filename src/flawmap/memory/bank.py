"""The bank: vectors of good patches, the image of each, and distances to them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from einops import rearrange
from torch import Tensor, nn

from flawmap.errors import OptionError
from flawmap.memory.neighbours import Nearest, nearest
from flawmap.support.options import Components, check_range
from flawmap.support.tensors import PatchGrid, PerImage


class Bank(nn.Module):
    """Vectors of good patches, to compare others with.

    Args:
        vectors: (vector, channel).
        image_ids: number of the image that each vector came from, from 0, (vector,).
        squares: ‖v‖² of each vector, (vector,), infinite for those to be ignored; computed where
            not given.

    Example:
        >>> bank = Bank(torch.tensor([[0.0, 0.0], [6.0, 8.0]]), torch.tensor([0, 1]))
        >>> bank(torch.tensor([[[[3.0, 4.0], [6.0, 7.0]]]])).distances
        tensor([[[5., 1.]]])
        >>> len(bank)
        2
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
            grid: patch vectors, (image, row, column, channel).
        """
        patches = rearrange(grid, "b h w c -> (b h w) c")
        flat = nearest(patches, self.vectors, squares=self.squares)
        shape = grid.shape[:3]
        return Nearest(flat.distances.reshape(shape), flat.rows.reshape(shape))

    def __len__(self) -> int:
        """The number of vectors that are not ignored."""
        return self._count


@dataclass(frozen=True)
class ImageScore(ABC):
    """How the distances of an image's patches make one score.

    An image score of your own is a frozen dataclass with this base, registered in `IMAGE_SCORES`;
    see docs/plugins.md.
    """

    uses_bank: ClassVar[bool] = True
    """Whether the score depends on the bank beside the distances to it."""

    @abstractmethod
    def __call__(self, grid: PatchGrid, nearest: Nearest, bank: Bank) -> PerImage:
        """One score per image, >= 0.

        Args:
            grid: patch vectors of a batch, (image, row, column, channel).
            nearest: distance to the bank and nearest row of each patch, (image, row, column).
            bank: that they were compared with.
        """


@dataclass(frozen=True)
class Maximum(ImageScore):
    """The largest distance among an image's patches.

    Example:
        >>> bank = Bank(torch.zeros(1, 2), torch.tensor([0]))
        >>> grid = torch.tensor([[[[3.0, 4.0], [0.0, 1.0]]]])
        >>> Maximum()(grid, bank(grid), bank)
        tensor([5.])
    """

    uses_bank: ClassVar[bool] = False

    def __call__(self, grid: PatchGrid, nearest: Nearest, bank: Bank) -> PerImage:
        """The largest distance of each image.

        Args:
            grid: unused.
            nearest: distance to the bank of each patch, (image, row, column).
            bank: unused.
        """
        del grid, bank
        return nearest.distances.amax(dim=(1, 2))


@dataclass(frozen=True)
class TopShare(ImageScore):
    """The mean of the largest distances among an image's patches.

    Of P patches these are k = max(1, round(q·P)). A defect spreads over several patches, and a
    single patch of a good part is far from the bank more often than several are.

    Args:
        fraction: of the patches that count, more than 0 and at most 1.

    Raises:
        OptionError: the fraction is out of that range.

    Example:
        >>> bank = Bank(torch.zeros(1, 2), torch.tensor([0]))
        >>> grid = torch.tensor([[[[3.0, 4.0], [0.0, 1.0]]]])
        >>> TopShare(fraction=1.0)(grid, bank(grid), bank)
        tensor([3.])
    """

    uses_bank: ClassVar[bool] = False

    fraction: float = field(default=0.01, metadata={"symbol": "q"})

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise OptionError(
                f"a top share of {self.fraction} is no fraction; use more than 0 and at most 1"
            )

    def __call__(self, grid: PatchGrid, nearest: Nearest, bank: Bank) -> PerImage:
        """The mean of each image's largest distances.

        Args:
            grid: unused.
            nearest: distance to the bank of each patch, (image, row, column), and which patches
                count.
            bank: unused.
        """
        del grid, bank
        distances = nearest.distances.flatten(1)
        count = max(1, round(self.fraction * distances.shape[1]))
        largest = distances.topk(count).values
        if nearest.inside is None:
            return largest.mean(dim=1)
        # Of so many patches as each image has. A graph has room for the most there can be.
        counts = (self.fraction * nearest.inside.sum(dim=1)).round().clamp_min(1)
        is_counted = torch.arange(count, device=counts.device) < counts[:, None]
        return (largest * is_counted).sum(dim=1) / counts


@dataclass(frozen=True)
class Reweighted(ImageScore):
    """The most anomalous patch's distance, weighted (Roth et al. 2022, eqs. 6–7).

    The weight is smaller where the nearest vector is itself far from its neighbours.

    Args:
        neighbours: how many of the bank's vectors around that nearest one count, itself included.

    Example:
        >>> bank = Bank(torch.tensor([[0.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]))
        >>> grid = torch.tensor([[[[3.0, 4.0]]]])
        >>> bool(Reweighted()(grid, bank(grid), bank) < Maximum()(grid, bank(grid), bank))
        True
    """

    neighbours: int = field(default=9, metadata={"symbol": "b"})

    def __post_init__(self) -> None:
        check_range(self, "neighbours", 1)

    def __call__(self, grid: PatchGrid, nearest: Nearest, bank: Bank) -> PerImage:
        """The weighted largest distance of each image.

        Args:
            grid: patch vectors of a batch, (image, row, column, channel).
            nearest: distance to the bank and nearest row of each patch, (image, row, column).
            bank: that they were compared with.
        """
        distance, index = nearest.distances.flatten(1).max(dim=1)
        channels = index[:, None, None].expand(-1, 1, grid.shape[3])
        most_anomalous = grid.flatten(1, 2).gather(1, channels)
        nearest_row = nearest.rows.flatten(1).gather(1, index[:, None])[:, 0]
        # ‖m* − v‖² less ‖m*‖², as in `nearest`; vectors to be ignored are infinitely far.
        squared = torch.addmm(bank.squares, bank.vectors[nearest_row], bank.vectors.T, alpha=-2)
        around = squared.topk(min(self.neighbours, len(bank)), largest=False).indices
        return _reweight(distance, (most_anomalous - bank.vectors[around]).norm(dim=-1))


IMAGE_SCORES = Components("image score", ImageScore, [Maximum, TopShare, Reweighted])
"""All image scores by name; other packages may add theirs."""


def _reweight(distance: PerImage, around: Tensor) -> PerImage:
    """A distance d times 1 − eᵈ / Σ eᵈⁱ, where dᵢ are those to the vectors around the nearest.

    Args:
        distance: of the most anomalous patch to its nearest vector, one per image.
        around: distances of that patch to the vectors around the nearest, (image, neighbour).

    Example:
        >>> _reweight(torch.tensor([2.0]), torch.tensor([[2.0, 2.5, 3.0]]))
        tensor([1.6274])
    """
    return (1 - torch.exp(distance - around.logsumexp(dim=1))) * distance
