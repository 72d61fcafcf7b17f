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


@pytest.mark.parametrize(
    ("name", "layer", "why"),
    [
        ("test_resnet", 5, "has no layer 5; its layers are 1, 2, 3, 4"),
        ("test_resnet", 0, "has no layer 0; its layers are 1, 2, 3, 4"),
        ("test_vit", 99, "has no block 99; its blocks are 0, 1, 2, 3, 4, 5"),
    ],
)
def test_a_layer_that_is_not_there(name: str, layer: int, why: str) -> None:
    with pytest.raises(OptionError, match=why):
        Backbone(name, layers=(layer,), weights="random")


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


TRANSFORMERS = [
    ("test_vit", 1),
    ("test_vit3", 1),
    ("test_vit4", 1),
    ("vit_tiny_patch16_224", 1),
    ("vit_small_patch14_reg4_dinov2", 5),
    ("vit_small_patch16_dinov3", 5),
]
"""Names, and how many class and register tokens stand before the patches."""


@pytest.mark.parametrize(("name", "others"), TRANSFORMERS)
def test_a_block_gives_a_vector_for_each_patch(name: str, others: int) -> None:
    backbone = Backbone(name, (1, 3), "random")
    patch = backbone.patch_size
    assert patch is not None
    images = torch.rand(1, 3, 5 * patch, 7 * patch)
    tokens = []
    with backbone.network.blocks[1].register_forward_hook(lambda *given: tokens.append(given[-1])):
        first, second = backbone(images)
    assert first.shape == second.shape == (1, backbone.channels[0], 5, 7)
    # By rows, behind the class and register tokens.
    assert tokens[0].shape[1] == others + 35
    assert torch.equal(first[0].flatten(1), tokens[0][0, others:].T)
    assert len(backbone.network.blocks) == 4


def test_a_transformer_takes_any_size_by_resampled_positions() -> None:
    backbone = Backbone("test_vit3", (2,), "random")
    assert backbone.network.pos_embed.shape[1] in (100, 101)
    (at_home,) = backbone(torch.zeros(1, 3, 160, 160))
    (smaller,) = backbone(torch.zeros(1, 3, 96, 128))
    assert at_home.shape[-2:] == (10, 10)
    assert smaller.shape[-2:] == (6, 8)
    # A black image has nothing but positions, so they differ.
    assert smaller[0].flatten(1).std(dim=1).max() > 0


def test_the_last_norm_is_applied_where_it_is_asked_for() -> None:
    plain = Backbone("test_vit", (2, 5), "random")
    normed = Backbone("test_vit", (2, 5), "random", final_norm=True)
    for before, after in zip(plain(IMAGES), normed(IMAGES), strict=True):
        tokens = before.permute(0, 2, 3, 1)
        expected = torch.nn.functional.layer_norm(tokens, tokens.shape[-1:], eps=1e-6)
        assert torch.allclose(after.permute(0, 2, 3, 1), expected, atol=1e-4)
    again = Backbone("test_vit", (2, 5), normed.weights(), final_norm=True)
    assert all(map(torch.equal, again(IMAGES), normed(IMAGES)))


def test_the_last_norm_of_a_cnn_is_refused() -> None:
    with pytest.raises(OptionError, match="final_norm: test_resnet is no transformer"):
        Backbone("test_resnet", weights="random", final_norm=True)


@pytest.mark.parametrize(("name", "stride"), [("test_vit", 16), ("vit_small_patch14_dinov2", 16)])
def test_the_stride_of_a_transformer_is_its_patch(name: str, stride: int) -> None:
    with pytest.raises(OptionError, match=rf"stride 8: {name} is a tr.*use --stride {stride} and"):
        Backbone(name, (2, 3), "random", stride=8)
    assert Backbone(name, (2, 3), "random", stride=stride).patch_size in (14, 16)


def test_a_transformer_of_one_size_is_refused() -> None:
    with pytest.raises(OptionError, match="takes images of one size; use another"):
        Backbone("beit_base_patch16_224", (2, 3), "random")
