from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from flawmap.errors import OptionError
from flawmap.features.backbone import Backbone
from flawmap.features.timm_network import DEFAULT_BACKBONE, build_network, dilate, layer_indices

IMAGES = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
# The position of the plain map that stands first: TensorFlow pads strided convolutions on the
# right and below alone, so that a fully computed map has one row and one column before it.
FIRST_POSITION = {
    "test_resnet": 0,
    "resnet18": 0,
    "wide_resnet50_2": 0,
    "test_convnext": 0,
    "mobilenetv2_100": 0,
    "regnetx_002": 0,
    DEFAULT_BACKBONE: 1,
}


def maps(name: str, stride: int | None, layers: tuple[int, ...] = (1, 2, 3, 4)) -> list[Tensor]:
    weights = "embedded" if name == DEFAULT_BACKBONE else "random"
    layer_maps: list[Tensor] = Backbone(name, layers, weights, stride)(IMAGES)
    return layer_maps


def dilated_by_hand(network: Any, stages: list[str]) -> Any:
    """The network whose convolutions in these stages were changed, one after the other."""
    factor = 1
    for stage in stages:
        convolutions = [
            module
            for module in network.get_submodule(stage).modules()
            if isinstance(module, nn.Conv2d)
        ]
        is_strided = any(convolution.stride == (2, 2) for convolution in convolutions)
        behind = 2 * factor if is_strided else factor
        passed = not is_strided
        for convolution in convolutions:
            passed_here = convolution.stride == (2, 2)
            spread(convolution, behind if passed and not passed_here else factor)
            passed = passed or passed_here
        factor = behind
    return network


def spread(convolution: nn.Conv2d, factor: int) -> None:
    convolution.stride = (1, 1)
    convolution.dilation = (factor, factor)
    size = convolution.kernel_size[0]
    convolution.padding = (factor * (size // 2), factor * (size // 2))


@pytest.mark.parametrize("name", FIRST_POSITION)
def test_a_dilated_map_has_the_plain_ones_values_at_every_other_position(name: str) -> None:
    first = FIRST_POSITION[name]
    plain, dilated = maps(name, None), maps(name, 8)
    assert [layer_map.shape[-1] for layer_map in dilated] == [32, 16, 16, 16]
    assert torch.equal(plain[0], dilated[0])
    assert torch.equal(plain[1], dilated[1])
    largest = float(plain[2].abs().max())
    assert torch.allclose(dilated[2][..., first::2, first::2], plain[2], atol=1e-5 * largest)
    # Between them is something else.
    assert not torch.allclose(dilated[2][..., 1 - first :: 2, first::2], plain[2], rtol=1e-2)
    # Two average or convolve 2×2 before their deepest stage, which timm dilates otherwise.
    if not first and name not in ("test_resnet", "test_convnext"):
        largest = float(plain[3].abs().max())
        assert torch.allclose(dilated[3][..., ::4, ::4], plain[3], atol=1e-5 * largest)


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("resnet18", ["layer3", "layer4"]),
        ("mobilenetv2_100", [f"blocks.{index}" for index in range(3, 7)]),
        (DEFAULT_BACKBONE, [f"blocks.{index}" for index in range(3, 7)]),
    ],
)
def test_every_position_is_that_of_a_network_dilated_by_hand(name: str, stages: list[str]) -> None:
    by_hand = dilated_by_hand(build_network(name), stages).eval()
    with torch.no_grad():
        expected = by_hand.forward_intermediates(IMAGES, intermediates_only=True)[-2:]
    actual = Backbone(name, (3, 4), "random", 8)(IMAGES)
    for first, second in zip(actual, expected, strict=True):
        assert torch.allclose(first, second, rtol=1e-4, atol=1e-5 * float(second.abs().max()))


@pytest.mark.parametrize(("stride", "sides"), [(16, [32, 16, 8, 8]), (32, [32, 16, 8, 4])])
def test_the_stride_is_an_upper_bound(stride: int, sides: list[int]) -> None:
    dilated = maps("test_resnet", stride)
    assert [layer_map.shape[-1] for layer_map in dilated] == sides


def test_the_networks_own_stride_changes_nothing() -> None:
    network = build_network("test_resnet")
    assert dilate(network, "test_resnet", 16, layer_indices(network)[3]) is network
    # Such a network cannot be dilated, and need not be.
    assert Backbone("mobilenetv3_small_100", (2, 3), "random", 16).channels == (24, 48)


@pytest.mark.parametrize(
    ("options", "available"),
    [
        ({"name": "test_resnet", "layers": (2, 3), "stride": 4}, "8, 16"),
        ({"name": "test_resnet", "layers": (4,), "stride": 4}, "8, 16, 32"),
        ({"name": "test_convnext", "layers": (3,), "stride": 2}, "8, 16"),
        ({"name": "tf_efficientnet_lite0", "layers": (3,), "stride": 1}, "2, 4, 8, 16"),
        ({"name": "mobilenetv3_small_100", "layers": (2, 3), "stride": 8}, "16"),
        ({"name": "test_mambaout", "layers": (2, 4), "stride": 16}, "32"),
    ],
)
def test_a_stride_that_the_network_cannot_have(options: dict[str, Any], available: str) -> None:
    with pytest.raises(
        OptionError,
        match=rf"cannot have stride {options['stride']}; with these layers it has {available}$",
    ):
        Backbone(**options, weights="random")


def test_a_network_that_older_versions_of_timm_cannot_cut() -> None:
    refused = "timm cannot cut hrnet_w18_small after a layer|cannot have stride 8; .* it has 16$"
    with pytest.raises(OptionError, match=refused):
        Backbone("hrnet_w18_small", (2, 3), "random", 8)


@pytest.mark.parametrize(
    ("name", "layers", "stride", "own"),
    [("tf_efficientnet_lite0", (2, 3), 32, 16), ("test_vit", (2, 3), 32, 16)],
)
def test_a_stride_above_the_networks_own(
    name: str, layers: tuple[int, ...], stride: int, own: int
) -> None:
    with pytest.raises(OptionError, match=rf"stride {stride}: .*{name} has {own}, and cannot have"):
        Backbone(name, layers, "random", stride)


def test_gates_by_the_mean_of_a_map_change_little() -> None:
    plain, dilated = maps("test_efficientnet", None), maps("test_efficientnet", 8)
    same_positions = dilated[2][..., ::2, ::2]
    assert torch.allclose(same_positions, plain[2], atol=0.02 * float(plain[2].abs().max()))
