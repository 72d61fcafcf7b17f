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

from flawmap.features.context_base import Context
from flawmap.features.feature_extractor import FeatureExtractor
from flawmap.features.spatial_transformer import FeatureAligner
from flawmap.support.tensors import Embedded, Features, Images, PatchGrid

Alignment = Literal["bilinear", "nearest"]
"""How coarser maps are brought to the size of the finest."""


class PatchEmbedder(nn.Module):
    """Images to one vector per patch, on the finest layer's grid.

    Args:
        backbone: gives the maps.
        context: how each layer's positions see their surroundings.
        alignment: how coarser maps are brought to the finest grid.
        aligner: brings all images into one pose; None where images are not registered.

    Example:
        >>> from flawmap.features.backbone import Backbone
        >>> from flawmap.features.context import Neighbourhood
        >>> backbone = Backbone("test_resnet", (2, 3), "random")
        >>> PatchEmbedder(backbone, Neighbourhood())(torch.zeros(1, 3, 64, 64)).maps[0].shape[:3]
        torch.Size([1, 8, 8])
    """

    def __init__(
        self,
        backbone: FeatureExtractor,
        context: Context,
        alignment: Alignment = "bilinear",
        aligner: FeatureAligner | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.context = context
        self.alignment = alignment
        self.aligner = aligner

    @property
    def blocks(self) -> tuple[int, ...]:
        """Lengths of the runs of channels that come from one source, in the vector's order."""
        return self.context.channel_blocks(self.backbone.channels)

    def forward(self, images: Images) -> Embedded:
        """The patch grid of a batch, with the transforms where images were registered.

        Args:
            images: (batch, 3, height, width), preprocessed.

        Returns:
            One map (batch, row, column, channel).
        """
        if self.aligner is None:
            return Embedded((self.embed_maps(self.backbone(images)),))
        aligned = self.aligner(self.backbone, images)
        return Embedded((self.embed_maps(aligned.maps),), tuple(aligned.transforms))

    def embed_maps(self, maps: Sequence[Features]) -> PatchGrid:
        """The patch vectors (batch, row, column, channel) of the backbone's maps.

        Args:
            maps: of each layer (batch, channel, row, column), from fine to coarse.
        """
        *shallow, deepest = maps
        in_context = [self.context.on_shallower(layer_map) for layer_map in shallow]
        in_context.append(self.context.on_deepest(deepest))
        joined = self.context.after_concat(concat_maps(in_context, self.alignment))
        return rearrange(joined, "b c h w -> b h w c")


def concat_maps(maps: Sequence[Features], alignment: Alignment = "bilinear") -> Features:
    """All maps in the size of the first, joined along their channels.

    Args:
        maps: (batch, channel, row, column) each; the first is the finest.
        alignment: `bilinear` interpolates between coarse values, `nearest` repeats them.

    Example:
        >>> concat_maps([torch.zeros(1, 2, 8, 8), torch.zeros(1, 3, 4, 4)]).shape
        torch.Size([1, 5, 8, 8])
    """
    size = maps[0].shape[-2:]
    # Half-pixel centres, as align_corners=False: a coarse value is in the middle of its pixels.
    aligned = [functional.interpolate(features, size=size, mode=alignment) for features in maps[1:]]
    return torch.cat([maps[0], *aligned], dim=1)
