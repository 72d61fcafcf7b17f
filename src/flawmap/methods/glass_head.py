"""The head of GLASS: discriminator and anomaly map."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import nn

from flawmap.features.anomaly_map import AnomalyMap
from flawmap.methods.head import SmoothedHead
from flawmap.support.tensors import Compared, Embedded, Maps, PerImage


class GLASSHead(SmoothedHead):
    """Patch vectors to scores: adapt, discriminate, draw the map.

    Args:
        adaptor: vectors to adapted vectors.
        discriminator: adapted vectors to logits of being anomalous.
        pixel_map: scores per patch to scores per pixel.
    """

    def __init__(self, adaptor: nn.Module, discriminator: nn.Module, pixel_map: AnomalyMap) -> None:
        super().__init__(pixel_map)
        self.adaptor = adaptor
        self.discriminator = discriminator

    def compare(self, embedded: Embedded) -> Compared:
        """How anomalous each patch is, 0…1.

        Args:
            embedded: one patch grid (batch, row, column, channel).
        """
        grid = embedded.maps[0]
        rows, columns = grid.shape[1:3]
        logits = self.discriminator(self.adaptor(grid.flatten(0, 2)))
        anomaly = rearrange(torch.sigmoid(logits), "(b h w) -> b h w", h=rows, w=columns)
        return Compared((anomaly,))

    def image_score(self, embedded: Embedded, compared: Compared, maps: Maps) -> PerImage:
        """The score of each image's most anomalous patch, before smoothing.

        Args:
            embedded: unused.
            compared: how anomalous each patch is.
            maps: unused.
        """
        del embedded, maps
        return compared.distances[0].amax(dim=(1, 2))
