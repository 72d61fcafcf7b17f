from __future__ import annotations

import pytest
import torch

from flawmap.experiments.feature_cache import CachedBackbone
from flawmap.features.backbone import Backbone


@pytest.fixture
def backbone() -> Backbone:
    return Backbone("test_resnet", weights="random")


def images(count: int) -> torch.Tensor:
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_maps_are_the_backbones_own_in_the_order_of_the_images(backbone: Backbone) -> None:
    cached = CachedBackbone(backbone, max_bytes=10**9)
    three = images(3)
    cached(three[1:2])
    for layer_map, expected in zip(cached(three.flip(0)), backbone(three.flip(0)), strict=True):
        assert torch.allclose(layer_map, expected, rtol=1e-4, atol=1e-5)
    assert cached.num_cached == 3


def test_without_room_nothing_is_kept_and_the_maps_are_right(backbone: Backbone) -> None:
    cached = CachedBackbone(backbone, max_bytes=0)
    two = images(2)
    first, second = cached(two), cached(two)
    assert cached.num_cached == 0
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_it_answers_for_the_backbone_that_it_wraps(backbone: Backbone) -> None:
    cached = CachedBackbone(backbone, max_bytes=0)
    assert cached.fingerprint() == backbone.fingerprint()
    assert list(cached.weights()) == list(backbone.weights())
    assert cached.stages() == backbone.stages()
    assert (cached.layers, cached.channels) == (backbone.layers, backbone.channels)


def test_maps_of_another_stride_are_other_maps(backbone: Backbone) -> None:
    dilated = CachedBackbone(Backbone("test_resnet", weights="random", stride=8), max_bytes=0)
    # Both have the same weights, and graphs are kept by weights and stride.
    CachedBackbone(backbone, max_bytes=0)(images(1))
    assert [layer_map.shape[-1] for layer_map in dilated(images(1))] == [8, 8]
