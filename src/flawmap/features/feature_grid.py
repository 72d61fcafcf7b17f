"""A continuous memory.

Grids of features that are sampled anywhere between their nodes, and how maps are made of it.

CRAD (Lee et al. 2024), written from its formulas.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from flawmap.support.tensors import Features


class FeatureGrid(nn.Module):
    """Features at the nodes of a square grid, learned; between nodes they are interpolated.

    Args:
        length: of what stands at a node.
        nodes: along each side.
    """

    def __init__(self, length: int, nodes: int) -> None:
        super().__init__()
        self.nodes = nn.Parameter(nn.init.xavier_normal_(torch.empty(1, length, nodes, nodes)))

    def forward(self, places: Tensor) -> Tensor:
        """Sample at places (batch, row, column, 2) within −1…1, along and down.

        Gives (batch, length, row, column).

        All images in one go, one below the other, so that the grid is not copied for each. Beyond
        the outermost nodes their own features go on: zeros there would be a rim that no feature
        has.
        """
        below = rearrange(places, "b h w two -> 1 (b h) w two")
        sampled = functional.grid_sample(
            self.nodes, below, padding_mode="border", align_corners=False
        )
        return rearrange(sampled, "1 c (b h) w -> b c h w", h=places.shape[1])


class CoordinateHead(nn.Module):
    """Says where in a grid each position of a map belongs: two layers, each ending in tanh.

    Args:
        channels: of the map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 1), nn.Tanh(), nn.Conv2d(channels, 2, 1), nn.Tanh()
        )

    def forward(self, features: Features) -> Tensor:
        """Give places (batch, row, column, 2) within −1…1."""
        places: Tensor = rearrange(self.layers(features), "b two h w -> b h w two")
        return places


class InvertedResidual(nn.Module):
    """Widen, look about, weigh channels, narrow, and add what came (Sandler et al.

    2018; Howard et al. 2019).

    Args:
        channels: that come and go.
        inner: channels within.
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.look = nn.Sequential(
            *(nn.Conv2d(channels, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.Hardswish()),
            *(
                nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False),
                nn.BatchNorm2d(inner),
            ),
        )
        squeezed = max(1, inner // 4)
        self.weigh = nn.Sequential(
            *(nn.AdaptiveAvgPool2d(1), nn.Conv2d(inner, squeezed, 1), nn.ReLU()),
            *(nn.Conv2d(squeezed, inner, 1), nn.Hardsigmoid()),
        )
        self.narrow = nn.Sequential(
            nn.Hardswish(), nn.Conv2d(inner, channels, 1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, features: Features) -> Features:
        """Treat a map."""
        seen = self.look(features)
        treated: Tensor = features + self.narrow(seen * self.weigh(seen))
        return treated


def refine(made: Features, features: Features) -> Features:
    """Blend the reconstructed map with the input map at each position, by their similarity there.

    b = 1 − round(min(0.05 · mean_c (R − F)², 1)), which is 1 while that mean is at most 10 and
    teaches nothing; s = 0.3 b + 0.7 cos(R, F); R′ = s F + (1 − s) R.

    Args:
        made: R, put together from the grids.
        features: F, what the backbone gave.
    """
    alike = refinement_weight(made, features)
    return alike * features + (1 - alike) * made


def refinement_weight(made: Features, features: Features) -> Features:
    """Give s of `refine`, (batch, 1, row, column)."""
    apart = (made - features).square().mean(dim=1, keepdim=True)
    near = 1 - torch.round((0.05 * apart.detach()).clamp(0, 1))
    return 0.3 * near + 0.7 * functional.cosine_similarity(made, features, dim=1)[:, None]
