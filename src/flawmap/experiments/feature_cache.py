"""The backbone's maps of each image, computed once for all runs and looked up afterwards."""

from __future__ import annotations

import hashlib
from collections import ChainMap

import torch
from torch import Tensor, nn

from flawmap.engine.run import make_engine
from flawmap.features.feature_extractor import FeatureExtractor
from flawmap.support.system import available_memory
from flawmap.support.tensors import Features, Images

_MapsByImage = dict[bytes, list[Tensor]]
"""The map of each layer without its batch axis, by the hash of the preprocessed image."""


class CachedBackbone(FeatureExtractor):
    """A backbone that computes the maps of each image once.

    Methods differ in what they make of the maps, and with a large network the maps take most of the
    time. What does not fit into the memory is computed each time.

    Args:
        backbone: computes the maps.
        max_bytes: memory for the maps; None for half of what is available now.

    Example:
        >>> from flawmap.features.backbone import Backbone
        >>> backbone = CachedBackbone(Backbone("test_resnet", weights="random"))
        >>> [tuple(layer_map.shape) for layer_map in backbone(torch.zeros(1, 3, 64, 64))]
        [(1, 48, 8, 8), (1, 192, 4, 4)]
        >>> backbone.num_cached
        1
    """

    def __init__(self, backbone: FeatureExtractor, max_bytes: int | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.name = backbone.name
        self.layers = backbone.layers
        self.stride = backbone.stride
        self.final_norm = backbone.final_norm
        self.patch_size = backbone.patch_size
        self.channels = backbone.channels
        self.mean = backbone.mean
        self.std = backbone.std
        settings = backbone.layers, backbone.stride, backbone.final_norm
        identity = f"{backbone.fingerprint()} {settings}"
        self._engine = make_engine(backbone, identity, "f32", ())
        self._maps: _MapsByImage = {}
        self._free_bytes = available_memory() // 2 if max_bytes is None else max_bytes

    @property
    def num_cached(self) -> int:
        """Number of images whose maps are kept."""
        return len(self._maps)

    def forward(self, images: Images) -> list[Features]:
        """The map of each wanted layer, from fine to coarse, on the images' device.

        Args:
            images: (batch, 3, height, width), preprocessed.
        """
        keys = [hashlib.blake2b(image.cpu().numpy().tobytes()).digest() for image in images]
        by_key = dict(zip(keys, images, strict=True))
        new = {key: image for key, image in by_key.items() if key not in self._maps}
        computed = self._compute(new) if new else {}
        available = ChainMap(computed, self._maps)
        by_layer = zip(*(available[key] for key in keys), strict=True)
        return [torch.stack(layer_maps).to(images.device) for layer_maps in by_layer]

    def stages(self) -> list[nn.Module]:
        """The wrapped backbone's modules; see `Backbone.stages`.

        Raises:
            OptionError: this network's layers are no modules of their own.
        """
        return self.backbone.stages()

    def weights(self) -> dict[str, Tensor]:
        """The tensors of the wrapped backbone by name."""
        return self.backbone.weights()

    def fingerprint(self) -> str:
        """SHA-256 of the wrapped backbone's weights, in hexadecimal digits."""
        return self.backbone.fingerprint()

    def _compute(self, images: dict[bytes, Tensor]) -> _MapsByImage:
        """Maps of images that are not cached; kept as long as there is room for them."""
        layers = self._engine(torch.stack(list(images.values())))
        computed = {
            key: [layer_map[index] for layer_map in layers] for index, key in enumerate(images)
        }
        self._free_bytes -= sum(layer_map.nbytes for layer_map in layers)
        if self._free_bytes > 0:
            self._maps |= computed
        return computed
