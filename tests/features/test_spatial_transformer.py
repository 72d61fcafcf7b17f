from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from flawmap.errors import OptionError
from flawmap.features.backbone import Backbone
from flawmap.features.spatial_transformer import (
    FeatureAligner,
    SpatialTransformer,
    TransformModel,
    make_aligner,
    resample,
)
from helpers import texture


def turn(degrees: float, shift: float = 0.0) -> Tensor:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return torch.tensor([[[cos, -sin, shift], [sin, cos, 0.0]]])


def make_images(count: int = 6, height: int = 64, width: int = 64) -> Tensor:
    """Textures, each turned by its own angle."""
    grey = torch.stack([torch.from_numpy(texture(seed, height, width)) for seed in range(count)])
    turned = torch.cat([turn(25 * math.sin(seed)) for seed in range(count)])
    return resample(grey.permute(0, 3, 1, 2).float() / 128 - 1, turned, "reflection")


def unfitted(backbone: Backbone, images: Tensor) -> FeatureAligner:
    return make_aligner(backbone, images[0], "rotation_scale").eval()


def biases(transformer: torch.nn.Module) -> Tensor:
    """Angle and scale that the transformer gives an image that says nothing."""
    *_, last = [name for name, _ in transformer.named_parameters() if name.endswith("bias")]
    return transformer.get_parameter(last).data


def blob(row: float, column: float, size: int = 48) -> Tensor:
    """A smooth hill with its top at a position given in units of half the width and height."""
    axis = (torch.arange(size) * 2 + 1) / size - 1
    return torch.exp(-((axis[:, None] - row) ** 2 + (axis[None] - column) ** 2) * 12)[None]


@pytest.fixture(scope="module")
def tiny() -> Backbone:
    return Backbone("test_resnet", weights="random")


@pytest.mark.parametrize(
    "name", ["resnet18", "test_resnet", "tf_efficientnet_lite0", "convnext_atto"]
)
@pytest.mark.parametrize("mode", ["rotation_scale", "affine"])
def test_before_it_is_fitted_it_changes_nothing(name: str, mode: TransformModel) -> None:
    backbone, images = Backbone(name, layers=(1, 2, 3), weights="random"), make_images(2)
    plain = backbone(images)
    aligner = make_aligner(backbone, images[0], mode).eval()
    aligned = aligner(backbone, images)
    for before, after in zip(plain, aligned.maps, strict=True):
        assert torch.allclose(before, after, rtol=1e-4, atol=1e-5 * float(before.abs().max()))
    assert torch.equal(torch.stack(aligned.transforms), torch.eye(2, 3).expand(3, 2, 2, 3))


@pytest.mark.parametrize(
    "name", ["resnet18", "test_resnet", "tf_efficientnet_lite0", "convnext_atto"]
)
def test_a_turn_after_the_first_stage_is_seen_by_the_later_ones(name: str) -> None:
    backbone, images = Backbone(name, weights="random"), make_images(2)
    aligner = unfitted(backbone, images)
    biases(aligner.transformers[0])[0] = math.pi  # upside down
    first, _, _ = aligner(backbone, images).transforms
    assert torch.allclose(first, -torch.eye(2, 3).expand(2, 2, 3), atol=1e-6)
    # The stages after it must have started from a map that was turned by hand.
    all_layers = Backbone(name, layers=(1, 2, 3), weights="random")
    stage_1, stage_2, _ = all_layers.stages()
    with stage_1.register_forward_hook(
        lambda _stage, _inputs, features: features.rot90(2, dims=(2, 3))
    ):
        expected = all_layers(images)[1]
    assert stage_2 is not stage_1
    aligned = aligner(backbone, images).maps[0]
    assert torch.allclose(aligned, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
    assert not torch.allclose(aligned, backbone(images)[0], atol=0.01 * float(expected.abs().max()))


def test_a_turn_is_one_of_pixels_on_maps_that_are_not_square() -> None:
    transformer = SpatialTransformer(1, 2 * 4, "rotation_scale").eval()
    biases(transformer)[0] = math.pi / 2
    columns = torch.arange(16.0).expand(1, 1, 8, 16)
    turned = resample(columns, transformer(columns), "border")
    # A quarter turn: what grew by one from column to column grows by one from row to row.
    assert torch.allclose(turned[0, 0].diff(dim=0).abs(), torch.ones(7, 16), atol=1e-4)


def test_distances_come_back_to_where_they_are_in_the_image() -> None:
    image = blob(0.3, -0.2)
    transform = turn(20, 0.1)
    registered = resample(image[:, None], transform, "reflection")[:, 0]
    back = FeatureAligner.to_image_frame(registered, [transform])
    assert (registered - image).abs().max() > 0.2
    assert (back - image)[:, 8:-8, 8:-8].abs().max() < 0.02


def test_two_transforms_are_undone_in_the_opposite_order() -> None:
    image, transforms = blob(0.3, -0.2), [turn(30), turn(0, 0.4)]
    registered = image[:, None]
    for transform in transforms:
        registered = resample(registered, transform, "reflection")
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


def test_hooks_go_even_after_an_error(tiny: Backbone) -> None:
    aligner = unfitted(tiny, make_images(1))
    with pytest.raises(RuntimeError):
        aligner(tiny, make_images(1, 96, 96))  # made for 64×64
    assert not [module for module in tiny.modules() if module._forward_hooks]


def test_a_backbone_whose_stages_are_no_modules_is_refused() -> None:
    with pytest.raises(OptionError, match="hrnet_w18_small"):
        make_aligner(Backbone("hrnet_w18_small", weights="random"), make_images(1)[0], "affine")
