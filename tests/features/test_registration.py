from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from flawmap.errors import DatasetError, OptionError
from flawmap.features import registration
from flawmap.features.backbone import Backbone
from flawmap.features.registration import (
    FeatureAligner,
    NoRegistration,
    Registration,
    SpatialTransformerRegistration,
    _after,
    _invert,
    _resample,
    _transformers,
    load_aligner,
)
from flawmap.support.options import from_dict, to_dict
from flawmap.support.progress import listen
from helpers import texture

QUICK = SpatialTransformerRegistration(epochs=2, learning_rate=1e-3, batch_size=2)


def turn(degrees: float, shift: float = 0.0) -> Tensor:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return torch.tensor([[[cos, -sin, shift], [sin, cos, 0.0]]])


def make_images(count: int = 6, height: int = 64, width: int = 64) -> Tensor:
    """Textures, each turned by its own angle."""
    grey = torch.stack([torch.from_numpy(texture(seed, height, width)) for seed in range(count)])
    turned = torch.cat([turn(25 * math.sin(seed)) for seed in range(count)])
    return _resample(grey.permute(0, 3, 1, 2).float() / 128 - 1, turned, "reflection")


def batches(images: Tensor, size: int = 4) -> list[Tensor]:
    return list(images.split(size))


def untaught(backbone: Backbone, images: Tensor) -> FeatureAligner:
    return FeatureAligner(_transformers(backbone, images[0], "rotation_scale")).eval()


def blob(row: float, column: float, size: int = 48) -> Tensor:
    """A smooth hill with its top at a place given in units of half the width and height."""
    axis = (torch.arange(size) * 2 + 1) / size - 1
    return torch.exp(-((axis[:, None] - row) ** 2 + (axis[None] - column) ** 2) * 12)[None]


@pytest.fixture(scope="module")
def tiny() -> Backbone:
    return Backbone("test_resnet", weights="random")


@pytest.mark.parametrize(
    "name", ["resnet18", "test_resnet", "tf_efficientnet_lite0", "convnext_atto"]
)
@pytest.mark.parametrize("mode", ["rotation_scale", "affine"])
def test_before_it_learned_it_changes_nothing(name: str, mode: registration.TransformModel) -> None:
    backbone, images = Backbone(name, layers=(1, 2, 3), weights="random"), make_images(2)
    plain = backbone(images)
    aligner = FeatureAligner(_transformers(backbone, images[0], mode)).eval()
    aligned = aligner(backbone, images)
    for before, after in zip(plain, aligned.maps, strict=True):
        assert torch.allclose(before, after, rtol=1e-4, atol=1e-5 * float(before.abs().max()))
    assert torch.equal(torch.stack(aligned.transforms), torch.eye(2, 3).expand(3, 2, 2, 3))


@pytest.mark.parametrize(
    "name", ["resnet18", "test_resnet", "tf_efficientnet_lite0", "convnext_atto"]
)
def test_a_turn_after_the_first_stage_is_seen_by_the_later_ones(name: str) -> None:
    backbone, images = Backbone(name, weights="random"), make_images(2)
    aligner = untaught(backbone, images)
    aligner.transformers[0].decide[-1].bias.data[0] = math.pi  # upside down
    first, _, _ = aligner(backbone, images).transforms
    assert torch.allclose(first, -torch.eye(2, 3).expand(2, 2, 3), atol=1e-6)
    # The stages after it must have started from a map that was turned by hand.
    all_layers = Backbone(name, layers=(1, 2, 3), weights="random")
    stage_1, stage_2, _ = all_layers.stages()
    with stage_1.register_forward_hook(
        lambda _stage, _came, features: features.rot90(2, dims=(2, 3))
    ):
        expected = all_layers(images)[1]
    assert stage_2 is not stage_1
    aligned = aligner(backbone, images).maps[0]
    assert torch.allclose(aligned, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
    assert not torch.allclose(aligned, backbone(images)[0], atol=0.01 * float(expected.abs().max()))


def test_a_turn_is_one_of_pixels_on_maps_that_are_not_square() -> None:
    transformer = registration.SpatialTransformer(1, 2 * 4, "rotation_scale").eval()
    transformer.decide[-1].bias.data[0] = math.pi / 2
    columns = torch.arange(16.0).expand(1, 1, 8, 16)
    turned = _resample(columns, transformer(columns), "border")
    # A quarter turn: what grew by one from column to column grows by one from row to row.
    assert torch.allclose(turned[0, 0].diff(dim=0).abs(), torch.ones(7, 16), atol=1e-4)


def test_distances_come_back_to_where_they_are_in_the_image() -> None:
    image, there = blob(0.3, -0.2), turn(20, 0.1)
    registered = _resample(image[:, None], there, "reflection")[:, 0]
    back = FeatureAligner.to_image_frame(registered, [there])
    assert (registered - image).abs().max() > 0.2
    assert (back - image)[:, 8:-8, 8:-8].abs().max() < 0.02


def test_two_transforms_are_undone_in_the_opposite_order() -> None:
    image, transforms = blob(0.3, -0.2), [turn(30), turn(0, 0.4)]
    registered = image[:, None]
    for transform in transforms:
        registered = _resample(registered, transform, "reflection")
    back = FeatureAligner.to_image_frame(registered[:, 0], transforms)
    wrong = FeatureAligner.to_image_frame(registered[:, 0], transforms[::-1])
    assert (back - image)[:, 8:-8, 8:-8].abs().max() < 0.03
    assert (wrong - image)[:, 8:-8, 8:-8].abs().max() > 0.3


def test_what_the_registered_image_does_not_show_takes_the_nearest_value() -> None:
    registered = torch.arange(10.0).expand(1, 10, 10)
    zoomed = torch.tensor([[[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]]])  # shows the middle half
    back = FeatureAligner.to_image_frame(registered, [zoomed])[0, 5]
    assert back.tolist() == pytest.approx([0, 0, 0, 1.5, 3.5, 5.5, 7.5, 9, 9, 9], abs=1e-4)


def test_a_map_pressed_flat_comes_back_finite() -> None:
    flat = torch.tensor([[[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]])
    assert FeatureAligner.to_image_frame(torch.rand(1, 8, 8), [flat]).isfinite().all()


def test_an_inverse_undoes() -> None:
    transform = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(0))
    both = _after(transform, _invert(transform))
    assert torch.allclose(both, torch.eye(2, 3).expand(5, 2, 3), atol=1e-4)


def test_the_loss_is_the_mean_cosine_of_both_directions() -> None:
    predicted, seen = torch.randn(4, 5, 2, 3), torch.randn(4, 5, 2, 3)
    one = -functional.cosine_similarity(predicted[:2], seen[2:], dim=1).mean()
    other = -functional.cosine_similarity(predicted[2:], seen[:2], dim=1).mean()
    assert registration._negative_cosine(predicted, seen) == pytest.approx(
        float(one / 2 + other / 2), abs=1e-6
    )


@pytest.mark.parametrize("count", [2, 3, 7])
def test_every_image_meets_another_one_once_a_round(count: int) -> None:
    pairs = torch.cat([*QUICK._pairs(count, 0, torch.Generator().manual_seed(1))], dim=1)
    assert [sorted(side.tolist()) for side in pairs] == [list(range(count))] * 2
    assert (pairs[0] != pairs[1]).all()


def test_it_learns_and_leaves_the_backbone_as_it_was(
    tiny: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses: list[float] = []
    unlikeness = registration._negative_cosine

    def heard(predicted: Tensor, seen: Tensor) -> Tensor:
        loss = unlikeness(predicted, seen)
        losses.append(loss.item())
        return loss

    monkeypatch.setattr(registration, "_negative_cosine", heard)
    before = tiny.fingerprint()
    aligner = SpatialTransformerRegistration(epochs=15, learning_rate=5e-3, batch_size=8).fit(
        tiny, batches(make_images(8)), seed=0
    )
    assert losses[-1] < losses[0] - 0.1
    assert tiny.fingerprint() == before
    assert all(
        parameter.grad is None and not parameter.requires_grad for parameter in tiny.parameters()
    )
    assert not [
        module for module in [*tiny.network.modules(), *aligner.modules()] if module.training
    ]
    assert not [module for module in tiny.modules() if module._forward_hooks]
    assert not [parameter for parameter in aligner.parameters() if parameter.requires_grad]
    transforms = aligner(tiny, make_images(2)).transforms
    assert not torch.allclose(transforms[-1], torch.eye(2, 3), atol=1e-4)


def test_stiffness_keeps_transforms_near_the_identity(tiny: Backbone) -> None:
    images = make_images(4)
    free, stiff = (
        SpatialTransformerRegistration(
            epochs=6, learning_rate=5e-3, deviation_weight=stiffness
        ).fit(tiny, batches(images), seed=0)
        for stiffness in (0.0, 1.0)
    )
    assert registration._deviation(stiff(tiny, images).transforms) < registration._deviation(
        free(tiny, images).transforms
    )


def test_hooks_go_even_after_an_error(tiny: Backbone) -> None:
    aligner = untaught(tiny, make_images(1))
    with pytest.raises(RuntimeError):
        aligner(tiny, make_images(1, 96, 96))  # made for 64×64
    assert not [module for module in tiny.modules() if module._forward_hooks]


def test_the_same_seed_gives_the_same_weights_and_touches_no_other_chance(tiny: Backbone) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    one, two, other = (
        QUICK.fit(tiny, batches(make_images(5)), seed).state_dict() for seed in (0, 0, 1)
    )
    load_aligner(one)
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(
        one["transformers.0.decide.1.weight"], other["transformers.0.decide.1.weight"]
    )


@pytest.mark.parametrize("mode", ["rotation_scale", "affine"])
def test_it_comes_back_from_its_tensors(tiny: Backbone, mode: registration.TransformModel) -> None:
    images = make_images(3, 64, 96)
    aligner = SpatialTransformerRegistration(epochs=1, learning_rate=1e-2, transform=mode).fit(
        tiny, batches(images), seed=0
    )
    again = load_aligner(aligner.state_dict())
    assert again is not None
    expected, came = aligner(tiny, images), again(tiny, images)
    assert all(torch.equal(one, two) for one, two in zip(expected.maps, came.maps, strict=True))
    assert all(
        torch.equal(one, two) for one, two in zip(expected.transforms, came.transforms, strict=True)
    )
    assert not [tensor for tensor in again.state_dict().values() if tensor.is_meta]


def test_a_batch_is_its_images_one_by_one(tiny: Backbone) -> None:
    images = make_images(3)
    aligner = QUICK.fit(tiny, batches(images), seed=0)
    together = aligner(tiny, images).maps[-1]
    alone = torch.cat([aligner(tiny, image[None]).maps[-1] for image in images])
    assert torch.allclose(together, alone, rtol=1e-3, atol=1e-4)


def test_the_weights_of_the_best_round_are_kept(
    tiny: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loss that is made to grow: the first round is the best."""
    calls: list[int] = []
    unlikeness = registration._negative_cosine

    def growing(predicted: Tensor, seen: Tensor) -> Tensor:
        calls.append(1)
        return unlikeness(predicted, seen) + 10 * len(calls)

    images = batches(make_images(4))
    monkeypatch.setattr(registration, "_negative_cosine", growing)
    # At a constant rate one round alone would leave the same weights; the cosine begins with the
    # full rate too.
    first = (
        SpatialTransformerRegistration(epochs=1, learning_rate=1e-3)
        .fit(tiny, images, seed=0)
        .state_dict()
    )
    kept = (
        SpatialTransformerRegistration(epochs=3, learning_rate=1e-3)
        .fit(tiny, images, seed=0)
        .state_dict()
    )
    assert all(torch.equal(first[name], kept[name]) for name in first)


def test_two_images_are_enough_and_one_is_not(tiny: Backbone) -> None:
    assert QUICK.fit(tiny, batches(make_images(2), size=1), seed=0) is not None
    with pytest.raises(DatasetError, match="pairs of images and got 1; give two or more"):
        QUICK.fit(tiny, batches(make_images(1)), seed=0)


def test_a_loss_that_breaks_stops_with_the_round_named(tiny: Backbone) -> None:
    with pytest.raises(
        OptionError, match=r"became (nan|-?inf|infinite) in epoch \d at rate 1000000"
    ):
        SpatialTransformerRegistration(epochs=9, learning_rate=1e6).fit(
            tiny, batches(make_images(4)), seed=0
        )


@pytest.mark.parametrize(
    "options",
    [{"epochs": 0}, {"learning_rate": 0.0}, {"batch_size": 0}, {"deviation_weight": -1.0}],
)
def test_options_that_cannot_work_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(OptionError, match="cannot learn"):
        SpatialTransformerRegistration(**options)


def test_a_backbone_whose_stages_are_no_modules_is_refused() -> None:
    with pytest.raises(OptionError, match="hrnet_w18_small"):
        QUICK.fit(Backbone("hrnet_w18_small", weights="random"), batches(make_images(2)), seed=0)


def test_progress_counts_batches_of_all_rounds(tiny: Backbone) -> None:
    told: list[tuple[str, int, int]] = []
    with listen(lambda *one: told.append(one)):
        QUICK.fit(tiny, batches(make_images(3)), seed=0)
    # Rounds begin where the one before ended.
    assert list(dict.fromkeys(told)) == [("registering images", done, 4) for done in range(5)]


def test_no_registration_learns_nothing_and_restores_to_nothing(tiny: Backbone) -> None:
    assert NoRegistration().fit(tiny, [], seed=0) is None
    assert load_aligner({}) is None


@pytest.mark.parametrize(
    "part",
    [NoRegistration(), SpatialTransformerRegistration(transform="affine", learning_rate=0.01)],
)
def test_options_survive_json(part: Registration) -> None:
    assert from_dict(to_dict(part), Registration) == part
