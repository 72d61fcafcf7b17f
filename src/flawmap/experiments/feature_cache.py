"""The backbone's maps of each image, computed once for all runs and looked up afterwards."""

from __future__ import annotations

import hashlib
from collections import ChainMap
from typing import ClassVar

import torch
from torch import nn

from flawmap.engine import run as engine
from flawmap.features.backbone import Backbone
from flawmap.support.system import available_memory
from flawmap.support.tensors import Features, Images


class CachedBackbone(Backbone):
    """A backbone that looks at each image once.

    Methods differ in what they make of the maps; with a large network those take most of the time.
    They are kept for as long as half of the memory that is free now has room for them; what does
    not fit is computed every time.

    Args:
        backbone: what looks.
    """

    remembers: ClassVar[bool] = True

    def __init__(self, backbone: Backbone) -> None:
        nn.Module.__init__(self)
        self.name, self.layers, self.channels = backbone.name, backbone.layers, backbone.channels
        self.mean, self.std, self._indices = backbone.mean, backbone.std, backbone._indices
        self.network = backbone.network
        self._look = engine.make_engine(
            backbone, f"{backbone.fingerprint()} {backbone.layers}", "f32", ()
        )
        self._maps: dict[bytes, list[torch.Tensor]] = {}
        self._room = (available_memory() or 0) // 2

    def forward(self, images: Images) -> list[Features]:
        """Give the map of each wanted layer, from fine to coarse."""
        keys = [hashlib.blake2b(image.cpu().numpy().tobytes()).digest() for image in images]
        new = {key: image for key, image in zip(keys, images, strict=True) if key not in self._maps}
        found = ChainMap(self._seen(new) if new else {}, self._maps)
        return [
            torch.stack(maps).to(images.device)
            for maps in zip(*(found[key] for key in keys), strict=True)
        ]

    def _seen(self, new: dict[bytes, torch.Tensor]) -> dict[bytes, list[torch.Tensor]]:
        layers = self._look(torch.stack(list(new.values())))
        found = {key: [maps[place] for maps in layers] for place, key in enumerate(new)}
        self._room -= sum(maps.nbytes for maps in layers)
        if self._room > 0:
            self._maps |= found
        return found
