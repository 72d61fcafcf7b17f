"""Encoder and head of DDAD: reconstruction, comparison and anomaly map."""

from __future__ import annotations

from torch import nn

from flawmap.features.anomaly_map import AnomalyMap
from flawmap.features.reconstructor import DDADReconstructor
from flawmap.methods.head import Head
from flawmap.support.tensors import Compared, Embedded, Images, Maps, PerImage


class DDADEncoder(nn.Module):
    """Images as they are; all of the work is the head's."""

    def forward(self, images: Images) -> Embedded:
        """The images.

        Args:
            images: (batch, 3, height, width), preprocessed.
        """
        return Embedded((images,))


class DDADHead(Head):
    """Images to scores: D_f + v · (max D_f / max D_p) · D_p, smoothed; maxima are of good images.

    Args:
        reconstructor: images to distances from their reconstructions.
        pixel_weight: v, what distances by pixels count beside those by features.
        pixel_map: distances per position to distances per pixel of the image.
    """

    def __init__(
        self, reconstructor: DDADReconstructor, pixel_weight: float, pixel_map: AnomalyMap
    ) -> None:
        super().__init__()
        self.reconstructor = reconstructor
        self.pixel_weight = pixel_weight
        self.pixel_map = pixel_map

    def compare(self, embedded: Embedded) -> Compared:
        """The distance of each position from its reconstruction, by pixels and by features.

        Args:
            embedded: the images.
        """
        by_pixels, by_features = self.reconstructor.distance_maps(embedded.maps[0])
        scale = self.pixel_weight * self.reconstructor.balance
        return Compared((by_features + scale * by_pixels,))

    def anomaly_map(self, embedded: Embedded, compared: Compared, height: int, width: int) -> Maps:
        """The distances in the image's size, smoothed.

        Args:
            embedded: unused.
            compared: the distance of each position.
            height: of the images, in pixels.
            width: of the images, in pixels.
        """
        del embedded
        maps: Maps = self.pixel_map(compared.distances[0], height, width)
        return maps

    def image_score(self, embedded: Embedded, compared: Compared, maps: Maps) -> PerImage:
        """The largest value of each map.

        Args:
            embedded: unused.
            compared: unused.
            maps: the smoothed maps.
        """
        del embedded, compared
        return maps.amax(dim=(1, 2))
