"""From the maps of a backbone to one vector per patch: average neighbours, align scales, join.

PatchCore (Roth et al. 2022, eq. 2) and the improved PatchCore (Li et al. 2025, eq. 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from einops import rearrange
from torch import nn
from torch.nn import functional

from flawmap.features.backbone import Backbone
from flawmap.features.context import Context
from flawmap.tensors import Features, Grid, Images

Alignment = Literal["bilinear", "nearest"]


class Embedding(nn.Module):
    """Pictures to one vector per patch, on the finest layer's grid.

    Args:
        backbone: gives the maps.
        context: what each layer's positions see of their surroundings.
        alignment: how coarser maps are brought to the finest grid.
    """

    def __init__(self, backbone: Backbone, context: Context, alignment: Alignment = "bilinear") -> None:
        super().__init__()
        self.backbone, self.context, self.alignment = backbone, context, alignment

    @property
    def blocks(self) -> tuple[int, ...]:
        """The sizes of the runs of channels that come from one source, in the order of the vector."""
        return self.context.blocks(self.backbone.channels)

    def forward(self, images: Images) -> Grid:
        """Embed a batch: (batch, row, column, channel)."""
        *shallow, deep = self.backbone(images)
        treated = [*map(self.context.shallow, shallow), self.context.deep(deep)]
        return rearrange(self.context.join(join(treated, self.alignment)), "b c h w -> b h w c")


def join(maps: Sequence[Features], alignment: Alignment = "bilinear") -> Features:
    """Bring all maps to the size of the first and join their channels."""
    size = maps[0].shape[-2:]
    # Half-pixel centres, as align_corners=False: a coarse value sits in the middle of the pixels it covers.
    aligned = [functional.interpolate(features, size=size, mode=alignment) for features in maps[1:]]
    return torch.cat([maps[0], *aligned], dim=1)
