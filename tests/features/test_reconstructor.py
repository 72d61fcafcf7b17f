from __future__ import annotations

from typing import cast

import pytest
import torch

from flawmap.features.backbone import Backbone
from flawmap.features.reconstructor import DDADReconstructor, layer_distance
from flawmap.features.unet import UNet


def reconstructor(size: tuple[int, int], guidance: float = 3.0) -> DDADReconstructor:
    torch.manual_seed(0)
    unet = UNet(8, (1, 2), 1, 1, 2)
    backbone = Backbone("test_resnet", (1, 2, 3), "random")
    return DDADReconstructor(unet, backbone, size, guidance).eval()


def images() -> torch.Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_at_their_own_size_images_come_back_as_backbones_take_them() -> None:
    networks = reconstructor((64, 64))
    scaled = networks.to_working_size(images())
    assert torch.allclose(networks.to_backbone_input(scaled), images(), atol=1e-5)


def test_maps_have_the_working_size_and_the_first_layer_is_not_compared() -> None:
    networks = reconstructor((32, 48))
    by_pixels, by_features = networks.distance_maps(images())
    assert by_pixels.shape == by_features.shape == (2, 32, 48)
    assert by_pixels.min() >= 0
    # Two layers, each at most 2 apart.
    assert 0 < by_features.max() <= 4


def test_a_perfect_reconstruction_is_at_no_distance() -> None:
    networks = reconstructor((32, 32))
    clean = networks.to_working_size(images())

    class Oracle(torch.nn.Module):
        def forward(self, noisy: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
            from flawmap.features.diffusion import alpha_bar

            fraction = alpha_bar(timesteps)
            return (noisy - fraction.sqrt() * clean) / (1 - fraction).sqrt()

    networks.unet = cast("UNet", Oracle())
    by_pixels, by_features = networks.distance_maps(images())
    assert by_pixels.max() < 1e-3
    assert by_features.max() < 1e-3


def test_layer_distances_add_up_over_layers() -> None:
    first = [torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[2.0, 0.0]]]])]
    second = [torch.tensor([[[[0.0, 1.0]]]]), torch.tensor([[[[5.0, 0.0]]]])]
    assert layer_distance(first, second).item() == pytest.approx(1.0)
    assert layer_distance(first, first).item() == pytest.approx(0.0, abs=1e-6)
