"""A continuous memory: grids of features that are sampled anywhere between their nodes.

And the networks that look up coordinates and make maps of what is there. CRAD (Lee et al. 2024),
written from its formulas.
"""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from flawmap.support.tensors import Features

_Coordinates = Float[Tensor, "batch _row _column 2"]
"""Where in a grid each position of a map belongs: horizontal and vertical, −1…1."""


class FeatureGrid(nn.Module):
    """Trained features at the nodes of a square grid; between nodes they are interpolated.

    Args:
        length: of the feature at a node.
        nodes: number of nodes along each side.

    Example:
        >>> grid = FeatureGrid(length=5, nodes=4)
        >>> grid(torch.zeros(2, 3, 6, 2)).shape
        torch.Size([2, 5, 3, 6])
    """

    def __init__(self, length: int, nodes: int) -> None:
        super().__init__()
        self.nodes = nn.Parameter(nn.init.xavier_normal_(torch.empty(1, length, nodes, nodes)))

    def forward(self, coordinates: _Coordinates) -> Features:
        """The features at coordinates, (batch, length, row, column).

        Args:
            coordinates: (batch, row, column, 2), horizontal and vertical, −1…1 over the grid.
        """
        # All images in one go, one below the other, so that the grid is not copied for each.
        # Beyond the outermost nodes their own features go on: zeros there would be a rim that no
        # feature has.
        stacked = rearrange(coordinates, "b h w two -> 1 (b h) w two")
        sampled = functional.grid_sample(
            self.nodes, stacked, padding_mode="border", align_corners=False
        )
        return rearrange(sampled, "1 c (b h) w -> b c h w", h=coordinates.shape[1])


class CoordinateHead(nn.Module):
    """Computes where in a grid each position of a map belongs: two layers, each ending in tanh.

    Args:
        channels: of the map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 1),
            nn.Tanh(),
            nn.Conv2d(channels, 2, 1),
            nn.Tanh(),
        )

    def forward(self, features: Features) -> _Coordinates:
        """Coordinates (batch, row, column, 2), −1…1.

        Args:
            features: (batch, channel, row, column).
        """
        coordinates: Tensor = rearrange(self.layers(features), "b two h w -> b h w two")
        return coordinates


class InvertedResidual(nn.Module):
    """An inverted residual block with squeeze and excitation.

    Sandler et al. 2018; Howard et al. 2019.

    Args:
        channels: of the map, before and after.
        inner_channels: within the block.
    """

    def __init__(self, channels: int, inner_channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Sequential(
            nn.Conv2d(channels, inner_channels, 1, bias=False),
            nn.BatchNorm2d(inner_channels),
            nn.Hardswish(),
            nn.Conv2d(
                inner_channels, inner_channels, 3, padding=1, groups=inner_channels, bias=False
            ),
            nn.BatchNorm2d(inner_channels),
        )
        squeezed_channels = max(1, inner_channels // 4)
        self.excitation = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(inner_channels, squeezed_channels, 1),
            nn.ReLU(),
            nn.Conv2d(squeezed_channels, inner_channels, 1),
            nn.Hardsigmoid(),
        )
        self.projection = nn.Sequential(
            nn.Hardswish(),
            nn.Conv2d(inner_channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, features: Features) -> Features:
        """The map with what the block adds.

        Args:
            features: (batch, channel, row, column).
        """
        inner = self.depthwise(features)
        outcome: Tensor = features + self.projection(inner * self.excitation(inner))
        return outcome


def refine(reconstructed: Features, features: Features) -> Features:
    """Blend the reconstructed map with the input map at each position, by their similarity there.

    b = 1 − round(min(0.05 · mean_c (R − F)², 1)), which is 1 while that mean is at most 10 and has
    no gradient; s = 0.3 b + 0.7 cos(R, F); R′ = s F + (1 − s) R.

    Args:
        reconstructed: R, made of the grids, (batch, channel, row, column).
        features: F, of the backbone, of the same shape.
    """
    weight = refinement_weight(reconstructed, features)
    return weight * features + (1 - weight) * reconstructed


def refinement_weight(reconstructed: Features, features: Features) -> Features:
    """The weight s of the input map in `refine`, (batch, 1, row, column).

    Args:
        reconstructed: R, made of the grids, (batch, channel, row, column).
        features: F, of the backbone, of the same shape.
    """
    difference = (reconstructed - features).square().mean(dim=1, keepdim=True)
    near = 1 - torch.round((0.05 * difference.detach()).clamp(0, 1))
    similarity = functional.cosine_similarity(reconstructed, features, dim=1)
    return 0.3 * near + 0.7 * similarity[:, None]
