"""Reconstructs images by guided diffusion and measures how far they are from what they were.

The networks of DDAD (Mousakhan et al. 2024), written from the paper's formulas.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from flawmap.features.diffusion import NUM_STEPS, reconstruct
from flawmap.features.feature_extractor import FeatureExtractor
from flawmap.features.pooling import average_pool_3x3
from flawmap.features.tensor_shapes import Scalar
from flawmap.features.unet import UNet
from flawmap.support.tensors import Distances, Features, Images

_ResizedImages = Float[Tensor, "batch 3 _height _width"]
"""The same images in another size."""


class DDADReconstructor(nn.Module):
    """A UNet that reconstructs images, and a backbone that was adapted to compare them.

    Args:
        unet: predicts the noise.
        backbone: is copied, and the copy adapted.
        size: height and width of the images that the UNet works on, in pixels.
        guidance: how strongly a reconstruction is guided towards the image, w.
    """

    def __init__(
        self, unet: UNet, backbone: FeatureExtractor, size: Sequence[int], guidance: float
    ) -> None:
        super().__init__()
        self.unet = unet
        self.adapted = deepcopy(backbone)
        self._guidance = guidance
        self._size = list(size)
        self.mean: Tensor
        self.std: Tensor
        self.noises: Tensor
        self.balance: Tensor
        self.register_buffer("mean", torch.tensor(backbone.mean).reshape(3, 1, 1))
        self.register_buffer("std", torch.tensor(backbone.std).reshape(3, 1, 1))
        # The same for every image, so that an image's score depends on nothing but itself.
        self.register_buffer("noises", torch.randn(NUM_STEPS + 1, 3, *self._size))
        self.register_buffer("balance", torch.ones(()))

    def to_working_size(self, images: Images) -> _ResizedImages:
        """Preprocessed images in the UNet's size, −1…1.

        Args:
            images: (batch, 3, height, width), preprocessed.
        """
        scaled = 2 * (images * self.std + self.mean) - 1
        resized: Tensor = functional.interpolate(scaled, size=self._size, mode="area")
        return resized

    def to_backbone_input(self, images: Images) -> Images:
        """Images of −1…1, normalised as backbones take them.

        Args:
            images: (batch, 3, height, width), −1…1.
        """
        return ((images + 1) / 2 - self.mean) / self.std

    def adapted_features(self, images: Images) -> list[Features]:
        """The adapted backbone's maps.

        Args:
            images: (batch, 3, height, width), −1…1.
        """
        maps: list[Features] = self.adapted(self.to_backbone_input(images))
        return maps

    def distance_maps(self, images: Images) -> list[Distances]:
        """Distances of images to their reconstructions, by pixels and by features.

        Args:
            images: (batch, 3, height, width), preprocessed.

        Returns:
            Two maps (batch, row, column) in the UNet's size, >= 0; the first layer's features are
            not compared.
        """
        resized = self.to_working_size(images)
        reconstructed = reconstruct(
            self.unet, resized, resized, self.noises[:, None], self._guidance
        )
        by_pixels = (resized - reconstructed).abs().mean(dim=1)
        size = by_pixels.shape[-2:]
        maps = self.adapted_features(resized)[1:]
        reconstructed_maps = self.adapted_features(reconstructed)[1:]
        by_layer = []
        for before, after in zip(maps, reconstructed_maps, strict=True):
            pooled_before = average_pool_3x3(before)
            pooled_after = average_pool_3x3(after)
            similarity = functional.cosine_similarity(pooled_before, pooled_after, dim=1)
            distances = (1 - similarity)[:, None]
            by_layer.append(
                functional.interpolate(distances, size, mode="bilinear", align_corners=True)
            )
        by_features = torch.stack(by_layer).sum(dim=0)[:, 0].clamp_min(0)
        return [by_pixels, by_features]


def layer_distance(maps: list[Features], other_maps: list[Features]) -> Scalar:
    """Sum of 1 − cos over layers, each layer of an image as one vector; mean over images.

    Args:
        maps: one per layer, (batch, channel, row, column).
        other_maps: of the same shapes.

    >>> maps = [torch.ones(2, 3, 4, 4)]
    >>> layer_distance(maps, [-layer_map for layer_map in maps])
    tensor(2.)
    """
    similarities = []
    for layer_map, other in zip(maps, other_maps, strict=True):
        similarities.append(functional.cosine_similarity(layer_map.flatten(1), other.flatten(1)))
    return (1 - torch.stack(similarities)).sum(dim=0).mean()
