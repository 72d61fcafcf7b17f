"""Distances scaled by place: how far a patch is beyond what good parts reach at its position."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from flawmap.features.pooling import average_pool_3x3
from flawmap.support.tensors import Distances

_PerPlace = Float[Tensor, "row column"]
"""One number per position of the patch grid."""

_SMALLEST_SPREAD = 1e-6
"""Of a distance; good parts without any spread at a place would divide by zero."""


class PlaceScaling(nn.Module):
    """Scales each distance by those of good parts at the same place, for parts that lie alike.

    s(p) = max(0, (d(p) − ½(μ_p + μ)) / (½(σ_p + σ))). μ_p and σ_p are mean and standard deviation
    of held-out good images at p, averaged over 3×3 places; μ and σ are those over all places.

    Args:
        mean: ½(μ_p + μ), (row, column).
        std: ½(σ_p + σ), (row, column), more than 0.

    Example:
        >>> scaling = PlaceScaling(torch.tensor([[1.0, 3.0]]), torch.tensor([[0.5, 2.0]]))
        >>> scaling(torch.tensor([[[2.0, 2.0]]]))
        tensor([[[2., 0.]]])
    """

    def __init__(self, mean: _PerPlace, std: _PerPlace) -> None:
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    @classmethod
    def fit(cls, distances: Distances, inside: Tensor | None = None) -> PlaceScaling:
        """The scaling of held-out good images' distances.

        Args:
            distances: of good images to a bank without them, (image, row, column).
            inside: whether each patch counts, of as many numbers; None where all count.
        """
        counts = torch.ones_like(distances)
        if inside is not None:
            counts = inside.reshape(distances.shape).to(distances)
        mean = (distances * counts).sum() / counts.sum()
        std = (((distances - mean).square() * counts).sum() / counts.sum()).sqrt()
        # A place that no good image covers is like the average place.
        number = counts.sum(dim=0)
        covered = number > 0
        place_mean = torch.where(covered, (distances * counts).sum(dim=0) / number, mean)
        squares = ((distances - place_mean).square() * counts).sum(dim=0)
        place_std = torch.where(covered, (squares / number).sqrt(), std)
        return cls(
            (_smooth(place_mean) + mean) / 2,
            ((_smooth(place_std) + std) / 2).clamp(min=_SMALLEST_SPREAD),
        )

    def forward(self, distances: Distances) -> Distances:
        """The scaled distances, (image, row, column), >= 0.

        Args:
            distances: of a batch to the bank, (image, row, column).
        """
        scaled: Distances = ((distances - self.mean) / self.std).clamp(min=0)
        return scaled


def _smooth(values: _PerPlace) -> _PerPlace:
    return average_pool_3x3(values[None, None], count_padding=False)[0, 0]
