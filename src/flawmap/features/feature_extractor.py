"""What methods need of a backbone."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from flawmap.support.tensors import Features, Images


class FeatureExtractor(nn.Module, ABC):
    """What methods need of a backbone: `Backbone` itself, or something that wraps one.

    Attributes:
        name: the backbone's timm name.
        layers: the layers whose maps come back, from fine to coarse.
        stride: the largest stride of these layers, in pixels; None for the network's own.
        final_norm: whether the last norm of a transformer is applied to each map.
        patch_size: side of a transformer's patch in pixels, of which the sides of images are
            multiples; None for a CNN.
        channels: number of channels of each of these layers.
        mean: of the images that the weights were trained with, one number per colour, 0…1.
        std: the same images' standard deviation.
    """

    name: str
    layers: tuple[int, ...]
    stride: int | None
    final_norm: bool
    patch_size: int | None
    channels: tuple[int, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @abstractmethod
    def forward(self, images: Images) -> list[Features]:
        """The map of each wanted layer, from fine to coarse.

        Args:
            images: (batch, 3, height, width), preprocessed.
        """

    @abstractmethod
    def stages(self) -> list[nn.Module]:
        """The modules whose outputs are layers 1, 2, … to the deepest wanted one.

        Raises:
            OptionError: this network's layers are no modules of their own.
        """

    @abstractmethod
    def weights(self) -> dict[str, Tensor]:
        """The tensors of the cut network by name."""

    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 of the cut network's weights, in hexadecimal digits."""
