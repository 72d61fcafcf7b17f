"""The second half of scoring, in three steps that every method has, and the module of both halves.

An encoder makes vectors of an image and knows nothing of good parts; a head compares them with what
was fitted. Torch, exported graphs and certificates all run `Head.forward`, so there is one way to a
score.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import nn

from flawmap.features.anomaly_map import AnomalyMap
from flawmap.support.tensors import Compared, Embedded, Images, Maps, PerImage, Scores


class Head(nn.Module, ABC):
    """Compares embeddings with what was fitted: distances, then the map, then the image score.

    The map is made before the image score, because several methods read the score off the map.

    Example:
        >>> class Brightness(Head):
        ...     def compare(self, embedded):
        ...         return Compared((embedded.maps[0].mean(dim=1),))
        ...     def anomaly_map(self, embedded, compared, height, width):
        ...         return compared.distances[0].expand(-1, height, width)
        ...     def image_score(self, embedded, compared, maps):
        ...         return maps.amax(dim=(1, 2))
        >>> Brightness()(Embedded((torch.ones(2, 3, 1, 1),)), height=8, width=8).image
        tensor([1., 1.])
    """

    @abstractmethod
    def compare(self, embedded: Embedded) -> Compared:
        """The distance of each patch from what good parts are like.

        Args:
            embedded: the encoder's output for a batch.

        Returns:
            One map of distances, (batch, row, column), >= 0, for each level that is compared.
        """

    @abstractmethod
    def anomaly_map(self, embedded: Embedded, compared: Compared, height: int, width: int) -> Maps:
        """One distance per pixel.

        Args:
            embedded: the encoder's output for a batch.
            compared: what `compare` returned for it.
            height: height of the images in pixels.
            width: width of the images in pixels.

        Returns:
            (batch, height, width), >= 0.
        """

    @abstractmethod
    def image_score(self, embedded: Embedded, compared: Compared, maps: Maps) -> PerImage:
        """One score per image.

        Args:
            embedded: the encoder's output for a batch.
            compared: what `compare` returned for it.
            maps: what `anomaly_map` returned for it.

        Returns:
            (batch,), >= 0; the larger, the less like good parts.
        """

    def forward(self, embedded: Embedded, height: int, width: int) -> Scores:
        """Image scores and anomaly maps of a batch.

        Args:
            embedded: the encoder's output for the batch.
            height: height of the images in pixels.
            width: width of the images in pixels.
        """
        compared = self.compare(embedded)
        maps = self.anomaly_map(embedded, compared, height, width)
        return Scores(self.image_score(embedded, compared, maps), maps)


class SmoothedHead(Head):
    """A head whose map is its one level of distances, smoothed, and whose score is the map's peak.

    A subclass compares; it may score otherwise.

    Args:
        pixel_map: distances per position to distances per pixel of the image.
    """

    def __init__(self, pixel_map: AnomalyMap) -> None:
        super().__init__()
        self.pixel_map = pixel_map

    def anomaly_map(self, embedded: Embedded, compared: Compared, height: int, width: int) -> Maps:
        """The distances in the image's size, smoothed.

        Args:
            embedded: unused.
            compared: the distance of each position, one level.
            height: height of the images in pixels.
            width: width of the images in pixels.
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


class ScoringModule(nn.Module):
    """Images to scores: an encoder and a head as one module.

    Args:
        encoder: images to `Embedded`.
        head: `Embedded`, height and width to `Scores`.
    """

    def __init__(self, encoder: nn.Module, head: Head) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, images: Images) -> Scores:
        """Image scores and anomaly maps of a batch.

        Args:
            images: (batch, 3, height, width), preprocessed.
        """
        height, width = images.shape[-2:]
        scores: Scores = self.head(self.encoder(images), height, width)
        return scores
