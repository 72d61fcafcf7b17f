"""Encoder and head of DDAD: reconstruction, comparison and anomaly map."""

from __future__ import annotations

from torch import nn

from flawmap.features.anomaly_map import AnomalyMap
from flawmap.features.reconstructor import DDADReconstructor
from flawmap.methods.head import SmoothedHead
from flawmap.support.tensors import Compared, Embedded, Images


class DDADEncoder(nn.Module):
    """Images as they are; all of the work is the head's."""

    def forward(self, images: Images) -> Embedded:
        """The images.

        Args:
            images: (batch, 3, height, width), preprocessed.
        """
        return Embedded((images,))


class DDADHead(SmoothedHead):
    """Images to scores: D_f + v · (max D_f / max D_p) · D_p, smoothed; maxima are of good images.

    Args:
        reconstructor: images to distances from their reconstructions.
        pixel_weight: v, what distances by pixels count beside those by features.
        pixel_map: distances per position to distances per pixel of the image.
    """

    def __init__(
        self, reconstructor: DDADReconstructor, pixel_weight: float, pixel_map: AnomalyMap
    ) -> None:
        super().__init__(pixel_map)
        self.reconstructor = reconstructor
        self.pixel_weight = pixel_weight

    def compare(self, embedded: Embedded) -> Compared:
        """The distance of each position from its reconstruction, by pixels and by features.

        Args:
            embedded: the images.
        """
        by_pixels, by_features = self.reconstructor.distance_maps(embedded.maps[0])
        scale = self.pixel_weight * self.reconstructor.balance
        return Compared((by_features + scale * by_pixels,))
