"""From the maps of a backbone to one vector per patch: average neighbours, align scales, join.

PatchCore (Roth et al. 2022, eq. 2) and the improved PatchCore (Li et al. 2025, eq. 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from flawmap.features.backbone import Backbone
from flawmap.features.context import Context
from flawmap.features.registration import AlignedFeatures, FeatureAligner
from flawmap.support.tensors import Features, Images, PatchGrid

Alignment = Literal["bilinear", "nearest"]


class Embedded(NamedTuple):
    """A vector per patch (batch, row, column, channel), and how their grid lies in the picture."""

    grid: PatchGrid
    transforms: list[Tensor]
    """As `Aligned.transforms`; none where nothing was registered."""


class PatchEmbedder(nn.Module):
    """Pictures to one vector per patch, on the finest layer's grid.

    Args:
        backbone: gives the maps.
        context: what each layer's positions see of their surroundings.
        alignment: how coarser maps are brought to the finest grid.
        aligner: brings all pictures into one pose, where one was learned.
    """

    def __init__(
        self, backbone: Backbone, context: Context, alignment: Alignment = "bilinear", aligner: FeatureAligner | None = None
    ) -> None:
        super().__init__()
        self.backbone, self.context, self.alignment, self.aligner = backbone, context, alignment, aligner

    @property
    def blocks(self) -> tuple[int, ...]:
        """The sizes of the runs of channels that come from one source, in the order of the vector."""
        return self.context.channel_blocks(self.backbone.channels)

    def forward(self, images: Images) -> Embedded:
        """Embed a batch."""
        aligned = self.aligner(self.backbone, images) if self.aligner else AlignedFeatures(self.backbone(images), [])
        return Embedded(self.embed_maps(aligned.maps), aligned.transforms)

    def embed_maps(self, maps: Sequence[Features]) -> PatchGrid:
        """Make vectors of the backbone's maps."""
        *shallow, deep = maps
        treated = [*map(self.context.on_shallower, shallow), self.context.on_deepest(deep)]
        return rearrange(self.context.after_concat(concat_maps(treated, self.alignment)), "b c h w -> b h w c")


def concat_maps(maps: Sequence[Features], alignment: Alignment = "bilinear") -> Features:
    """Bring all maps to the size of the first and join their channels."""
    size = maps[0].shape[-2:]
    # Half-pixel centres, as align_corners=False: a coarse value sits in the middle of the pixels it covers.
    aligned = [functional.interpolate(features, size=size, mode=alignment) for features in maps[1:]]
    return torch.cat([maps[0], *aligned], dim=1)
