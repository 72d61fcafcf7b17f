from __future__ import annotations

import numpy as np
import pytest

from flawmap.data.auto_mask import find_mask, find_part
from flawmap.runtime.mask import Counting
from flawmap.synthetic.heatsink import draw_good
from helpers import texture


def scene(seed: int, *, column: int = 60, background: float = 30, noise: float = 3) -> np.ndarray:
    """A brushed part of 90 × 120 pixels with a dark hole, on a background of 150 × 240."""
    rng = np.random.default_rng(seed)
    image = np.full((150, 240, 3), background, np.float32)
    part = texture(seed, 90, 120).astype(np.float32)
    part[30:50, 40:70] = background
    image[30:120, column : column + 120] = part
    image += rng.normal(0, noise, image.shape)
    return image.clip(0, 255).astype(np.uint8)


def part_of(column: int) -> Counting:
    part = np.zeros((150, 240), bool)
    part[30:120, column : column + 120] = True
    return part


@pytest.mark.parametrize("background", [30, 250])
def test_the_part_is_found_with_its_holes(background: float) -> None:
    found = find_part(scene(0, background=background))
    assert (found != part_of(60)).mean() < 0.01


def test_dirt_in_the_background_is_no_part() -> None:
    image = scene(0)
    image[5:9, 5:9] = 200
    assert not find_part(image)[:20, :20].any()


def test_a_part_at_the_frame_is_found() -> None:
    image = scene(0)[:, 80:]
    assert (find_part(image) != part_of(60)[:, 80:]).mean() < 0.01


def test_light_that_falls_off_leaves_the_background_plain() -> None:
    image = scene(0, background=60)
    shading = 1 - 0.15 * np.linspace(0, 1, 240)[None, :, None]
    assert (find_part((image * shading).astype(np.uint8)) != part_of(60)).mean() < 0.02


def test_a_part_that_moves_counts_wherever_it_lies_with_a_margin() -> None:
    columns = [40, 60, 90]
    found = find_mask([scene(seed, column=column) for seed, column in enumerate(columns * 3)])
    assert found.mask is not None
    assert found.reason == "the part against its background in 9 of 9 good images"
    counting = found.mask.at(150, 240)
    union = np.logical_or.reduce([part_of(column) for column in columns])
    assert counting[union].all()
    assert 0 < counting[~union].mean() < 0.1


def test_large_images_of_any_depth_give_a_small_mask() -> None:
    images = [np.kron(scene(seed), np.ones((8, 8, 1), np.uint16)) * 16 for seed in range(3)]
    found = find_mask([image.astype(np.uint16) for image in images], white=4080)
    assert found.mask is not None
    assert found.mask.pixels.shape == (320, 512)
    assert found.mask.at(1200, 1920)[300:900, 500:1400].all()


@pytest.mark.parametrize("product", ["Black", "White"])
def test_heat_sinks_are_found(product: str) -> None:
    found = find_mask([draw_good(product, seed) for seed in range(4)])
    assert found.mask is not None
    assert 0.6 < found.mask.share < 0.8
    assert not found.mask.at(224, 224)[:4].any()


def plate(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 190, (150, 240, 3)).astype(np.uint8)


def framed() -> np.ndarray:
    image = np.full((150, 240, 3), 30, np.uint8)
    image[4:-4, 4:-4] = 160
    return image


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        ([plate(seed) for seed in range(5)], "5 of 5 good images show no plain background"),
        ([np.full((90, 99, 3), 99, np.uint8)] * 3, "3 of 3 good images show no plain background"),
        ([scene(0), scene(1), plate(2), plate(3)], "2 of 4 good images show no plain background"),
        ([scene(0), scene(1), scene(2)[:, 90:]], "different aspects (2 sizes when reduced)"),
        ([b"no image"], "none of the good images can be read"),
        ([framed()] * 3, "the part takes up 98% of the good images"),
    ],
)
def test_where_there_is_no_background_there_is_no_mask(
    images: list[np.ndarray | bytes], reason: str
) -> None:
    found = find_mask(images)
    assert found.mask is None
    assert reason in found.reason


def test_what_cannot_be_read_is_passed_over() -> None:
    found = find_mask([scene(0), b"", scene(1)])
    assert found.mask is not None
    assert found.reason.endswith("in 2 of 2 good images")
