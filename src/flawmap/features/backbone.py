"""Pretrained networks from timm, frozen, cut after the last wanted layer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from flawmap.errors import OptionError, WeightsMismatch
from flawmap.features.backbone_weights import (
    EMBEDDED,
    HUB,
    RANDOM,
    load_embedded,
    load_weights,
    read_weights,
)
from flawmap.features.feature_extractor import FeatureExtractor
from flawmap.features.position_resampling import ResampleByMatrices
from flawmap.features.timm_network import (
    DEFAULT_BACKBONE,
    build_network,
    dilate,
    is_transformer,
    layer_indices,
)
from flawmap.support.tensors import Features, Images

_FINGERPRINT = "fingerprint"
"""Name of the fingerprint among the saved tensors."""


class Backbone(FeatureExtractor):
    """A frozen timm network that returns the maps of some of its layers.

    Args:
        name: any timm name, with or without a tag: `resnet18.tv_in1k`, `wide_resnet50_2.tv_in1k`.
        layers: the layers whose maps are wanted. In a CNN they count from 1, and layer k has
            stride 2^(k+1): 4, 8, 16, 32 pixels; in a ResNet they are the outputs of the four stages
            after their last ReLU. In a transformer they are its blocks, from 0, as in timm's
            `forward_intermediates`; their maps have one vector per patch, without class and
            register tokens.
        weights: a `.safetensors` file, `hub`, `embedded` (for tf_efficientnet_lite0), or `random`,
            which is never the default; None takes the embedded ones where there are some and the
            hub's otherwise. Or the tensors by name.
        stride: the largest stride of the layers, in pixels, a power of two: later stages are
            dilated instead of strided, with the same weights. Layers keep their numbers. None for
            the network's own strides.
        final_norm: whether the last norm of a transformer is applied to each map.

    Attributes:
        layers: the wanted layers in ascending order, each once.
        patch_size: side of a transformer's patch in pixels, of which the sides of images are
            multiples; None for a CNN.
        channels: number of channels of each of these layers.
        mean: mean of each colour, red, green and blue, that images are normalised with, 0…1.
        std: standard deviation of each colour, likewise.

    Raises:
        OptionError: timm has no such network, or the network no such layer or stride.
        WeightsUnavailable: the hub cannot be reached, or the file is not there.
        WeightsError: the weights are not this network's.

    Example:
        >>> backbone = Backbone("test_resnet", layers=(1, 2), weights="random")
        >>> [tuple(layer_map.shape) for layer_map in backbone(torch.zeros(1, 3, 64, 64))]
        [(1, 32, 16, 16), (1, 48, 8, 8)]
        >>> backbone = Backbone("test_resnet", layers=(2, 3), weights="random", stride=8)
        >>> [tuple(layer_map.shape) for layer_map in backbone(torch.zeros(1, 3, 64, 64))]
        [(1, 48, 8, 8), (1, 192, 8, 8)]
    """

    def __init__(
        self,
        name: str = DEFAULT_BACKBONE,
        layers: Sequence[int] = (2, 3),
        weights: str | Path | Mapping[str, Tensor] | None = None,
        stride: int | None = None,
        *,
        final_norm: bool = False,
    ) -> None:
        super().__init__()
        if weights is None:
            weights = EMBEDDED if name == DEFAULT_BACKBONE else HUB
        network = build_network(name, pretrained=weights == HUB)
        if weights == EMBEDDED:
            load_embedded(network, name)
        self.name = name
        self.layers = tuple(sorted(set(layers)))
        self.stride = stride
        self.final_norm = final_norm
        first_stride = network.feature_info[0]["reduction"]
        self.patch_size = first_stride if is_transformer(network) else None
        if final_norm and not self.patch_size:
            raise OptionError(f"final_norm: {name} is no transformer; leave it out")
        self.mean = _by_colour(network.pretrained_cfg["mean"])
        self.std = _by_colour(network.pretrained_cfg["std"])
        # Before dilation, after which several layers share a stride.
        self._layer_indices = layer_indices(network)
        self._indices = self._find_layers(self.layers)
        if stride:
            network = dilate(network, name, stride, self._indices[-1])
        self.channels = tuple(network.feature_info[index]["num_chs"] for index in self._indices)
        network.prune_intermediate_layers(self._indices, prune_norm=not final_norm, prune_head=True)
        if isinstance(weights, Mapping):
            load_weights(network, weights, f"the saved weights of {name}")
        elif weights not in (EMBEDDED, HUB, RANDOM):
            load_weights(network, read_weights(Path(weights)), f"{weights}")
        # Channels last: on two cores half the time of the default layout.
        self.network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def forward(self, images: Images) -> list[Features]:
        """The map of each wanted layer, from fine to coarse; stops after the last of them.

        Args:
            images: (batch, 3, height, width), preprocessed.
        """
        with ResampleByMatrices() if self.patch_size else nullcontext():
            maps: list[Features] = self.network.forward_intermediates(
                images.contiguous(memory_format=torch.channels_last),
                indices=self._indices,
                norm=self.final_norm,
                stop_early=True,
                intermediates_only=True,
            )
        return maps

    @property
    def num_blocks(self) -> int:
        """Number of layers that it could have: a transformer's blocks, or a CNN's stages."""
        return len(self._layer_indices)

    def stages(self) -> list[nn.Module]:
        """The modules whose outputs are layers 1, 2, … to the deepest wanted one; blocks 0, 1, ….

        Raises:
            OptionError: this network's layers are no modules of their own.
        """
        first = 0 if self.patch_size else 1
        indices = self._find_layers(tuple(range(first, max(self.layers) + 1)))
        try:
            return [
                self.network.get_submodule(self.network.feature_info[index]["module"])
                for index in indices
            ]
        except AttributeError as error:
            raise OptionError(
                f"the stages of {self.name} are no modules; use {DEFAULT_BACKBONE} or a ResNet"
            ) from error

    def train(self, mode: bool = True) -> Backbone:
        """Stay in eval mode: batch statistics would make a score depend on its batch.

        Args:
            mode: unused.
        """
        del mode
        super().train(False)
        return self

    def weights(self) -> dict[str, Tensor]:
        """The tensors of the cut network by name; a `Backbone` takes them as its weights."""
        return {name: tensor.contiguous() for name, tensor in self.network.state_dict().items()}

    def fingerprint(self) -> str:
        """SHA-256 of the cut network's weights: names, types, shapes and values, in hex."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.weights().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def _find_layers(self, layers: tuple[int, ...]) -> list[int]:
        """Where timm lists the wanted layers."""
        available = self._layer_indices
        missing = [str(layer) for layer in layers if layer not in available]
        if missing:
            names = ", ".join(str(layer) for layer in sorted(available)) or "none"
            kind = "block" if self.patch_size else "layer"
            raise OptionError(
                f"{self.name} has no {kind} {', '.join(missing)}; its {kind}s are {names}"
            )
        return [available[layer] for layer in layers]


class BackboneSpec(NamedTuple):
    """Which network, which of its layers, which weights, which stride, which norm; see `Backbone`.

    Args:
        name: a timm name.
        layers: the layers whose maps are wanted.
        weights: where the weights come from.
        stride: the largest stride of the layers, in pixels; None for the network's own.
        final_norm: whether the last norm of a transformer is applied to each map.

    Example:
        >>> BackboneSpec("test_resnet", (1, 2), "random", stride=4).build().channels
        Traceback (most recent call last):
        flawmap.errors.OptionError: test_resnet cannot have stride 4; with these layers it has 8
    """

    name: str = DEFAULT_BACKBONE
    layers: tuple[int, ...] = (2, 3)
    weights: str | None = None
    stride: int | None = None
    final_norm: bool = False

    def build(self, weights: Mapping[str, Tensor] | None = None) -> Backbone:
        """The backbone.

        Args:
            weights: tensors by name in place of what `weights` names.
        """
        return Backbone(
            self.name,
            self.layers,
            weights or self.weights,
            self.stride,
            final_norm=self.final_norm,
        )


def save_backbone(backbone: FeatureExtractor) -> dict[str, Tensor]:
    """The weights of a backbone and their fingerprint, on the CPU.

    Args:
        backbone: the backbone; its name and layers are not saved.
    """
    weights = {name: tensor.cpu() for name, tensor in backbone.weights().items()}
    digest = bytes.fromhex(backbone.fingerprint())
    return {**weights, _FINGERPRINT: torch.tensor(list(digest), dtype=torch.uint8)}


def load_backbone(spec: BackboneSpec, saved: Mapping[str, Tensor]) -> Backbone:
    """The backbone that was saved.

    Args:
        spec: its name, layers, stride and norm.
        saved: what `save_backbone` returned.

    Raises:
        WeightsMismatch: the fingerprint is not that of the weights.

    Example:
        >>> spec = BackboneSpec("test_resnet", (1,), "random")
        >>> load_backbone(spec, save_backbone(spec.build())).channels
        (32,)
    """
    weights = {key: tensor for key, tensor in saved.items() if key != _FINGERPRINT}
    backbone = spec.build(weights)
    expected = bytes(saved[_FINGERPRINT].tolist()).hex()
    actual = backbone.fingerprint()
    if expected != actual:
        raise WeightsMismatch(
            f"fitted with weights {expected[:12]}… of {spec.name}, and these are "
            f"{actual[:12]}…; fit again, or use the weights that it was fitted with"
        )
    return backbone


def _by_colour(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return red, green, blue
