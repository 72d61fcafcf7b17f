from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from flawmap.errors import OptionError, WeightsUnavailable
from flawmap.features.backbone import Backbone, BackboneSpec, load_backbone, save_backbone
from helpers import RESNET18, needs_shared

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def tiny() -> Backbone:
    return Backbone("test_resnet", weights="random")


@pytest.mark.parametrize(
    ("name", "channels"),
    [("resnet18", (64, 128, 256)), ("wide_resnet50_2.tv_in1k", (256, 512, 1024))],
)
def test_layers_have_the_strides_of_their_numbers(name: str, channels: tuple[int, ...]) -> None:
    maps = Backbone(name, layers=(1, 2, 3), weights="random")(IMAGES)
    assert [features.shape[1] for features in maps] == list(channels)
    assert [tuple(features.shape[2:]) for features in maps] == [(16, 16), (8, 8), (4, 4)]
    assert all((features >= 0).all() for features in maps)


def test_what_lies_behind_the_last_layer_is_cut(tiny: Backbone) -> None:
    assert not [name for name in tiny.weights() if name.startswith(("layer4", "fc"))]


def test_it_is_frozen_and_stays_in_eval_mode(tiny: Backbone) -> None:
    assert not [name for name, parameter in tiny.named_parameters() if parameter.requires_grad]
    tiny.train()
    assert not [module for module in tiny.modules() if module.training]


def test_the_default_knows_imagenet() -> None:
    backbone = Backbone()
    assert backbone.channels == (40, 112)
    assert (backbone.mean, backbone.std) == ((0.5,) * 3, (0.5,) * 3)
    # Trained weights carry running statistics; random ones have none.
    statistics = [
        tensor for name, tensor in backbone.weights().items() if name.endswith("running_mean")
    ]
    assert all(statistic.abs().max() > 0 for statistic in statistics)


def test_weights_come_back_the_same(tiny: Backbone) -> None:
    again = Backbone("test_resnet", weights=tiny.weights())
    assert again.fingerprint() == tiny.fingerprint()
    assert all(torch.equal(one, two) for one, two in zip(tiny(IMAGES), again(IMAGES), strict=True))


def test_the_fingerprint_sees_one_number_change(tiny: Backbone) -> None:
    weights = {name: tensor.clone() for name, tensor in tiny.weights().items()}
    weights["conv1.0.weight"][0, 0, 0, 0] += 1e-6
    assert Backbone("test_resnet", weights=weights).fingerprint() != tiny.fingerprint()


@needs_shared
def test_the_shared_resnet18() -> None:
    backbone = Backbone("resnet18", weights=str(RESNET18))
    assert backbone.channels == (128, 256)
    assert len(backbone.weights()) == len(load_file(RESNET18))


def test_an_unknown_network_names_similar_ones() -> None:
    with pytest.raises(OptionError, match=r"resnet19.*similar: .*resnet"):
        Backbone("resnet19", weights="random")


@pytest.mark.parametrize(("name", "has"), [("test_resnet", "1, 2, 3, 4"), ("test_vit", "none")])
def test_a_layer_that_is_not_there(name: str, has: str) -> None:
    with pytest.raises(OptionError, match=f"has no layer 5; its layers are {has}"):
        Backbone(name, layers=(5,), weights="random")


def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        WeightsUnavailable, match=r"resnet18\.tv_in1k could not be fetched.*--weights FILE"
    ):
        Backbone("resnet18.tv_in1k")


def test_a_dilated_one_knows_its_stages_by_their_numbers() -> None:
    plain, dilated = (Backbone("test_resnet", (2, 3), "random", stride) for stride in (None, 8))
    assert (plain.stride, dilated.stride) == (None, 8)
    assert dilated.channels == plain.channels
    assert [
        stage is dilated.network.get_submodule(f"layer{index}")
        for index, stage in enumerate(dilated.stages(), 1)
    ] == [True] * 3


def test_a_dilated_one_has_the_same_weights(tiny: Backbone) -> None:
    dilated = Backbone("test_resnet", weights="random", stride=8)
    assert dilated.fingerprint() == tiny.fingerprint()
    again = Backbone("test_resnet", weights=tiny.weights(), stride=8)
    assert all(map(torch.equal, dilated(IMAGES), again(IMAGES)))


def test_a_saved_one_comes_back_with_its_stride(tiny: Backbone) -> None:
    spec = BackboneSpec("test_resnet", weights="random", stride=8)
    loaded = load_backbone(spec, save_backbone(spec.build()))
    assert all(map(torch.equal, loaded(IMAGES), spec.build()(IMAGES)))
    assert loaded(IMAGES)[1].shape[-1] == 8


@needs_shared
def test_the_shared_resnet18_dilated() -> None:
    plain, dilated = (
        Backbone("resnet18", weights=str(RESNET18), stride=stride)(IMAGES)[1]
        for stride in (None, 8)
    )
    assert torch.allclose(dilated[..., ::2, ::2], plain, rtol=1e-4, atol=1e-5)
