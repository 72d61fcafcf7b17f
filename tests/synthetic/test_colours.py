from __future__ import annotations

import colorsys

import numpy as np
import pytest

from flawmap.synthetic.colours import (
    change_contrast,
    change_hue,
    change_tone,
    random_colours,
    to_levels,
)
from helpers import texture

GREY = np.full((32, 32, 3), 90, np.uint8)


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_levels_are_rounded_and_kept_within_8_bits() -> None:
    assert to_levels(np.array([-1.0, 0.4, 1.6, 254.6, 300])).tolist() == [0, 0, 2, 255, 255]


def test_random_colours_go_from_the_images_mean_to_far_from_it() -> None:
    distances = [np.abs(random_colours(rng(seed), GREY, 20) - 90).mean() for seed in range(30)]
    assert min(distances) < 15
    assert max(distances) > 50
    colours = random_colours(rng(0), GREY, 200)
    assert colours.min() >= 0
    assert colours.max() <= 255


def test_tone_is_gain_and_offset() -> None:
    assert (change_tone(GREY, 2, -30) == 150).all()
    assert (change_tone(GREY, 3, 0) == 255).all()
    assert (GREY == 90).all()


def test_contrast_changes_around_the_mean() -> None:
    image = texture(0)
    gains = []
    for seed in range(20):
        changed = change_contrast(rng(seed), image)
        assert abs(changed.mean() - image.mean()) < 1
        gains.append(changed.std() / image.std())
    assert 0.79 < min(gains) < 0.9
    assert 1.1 < max(gains) < 1.21


@pytest.mark.parametrize("max_change", [0.1, 0.2])
def test_hue_turns_by_a_fraction_of_the_circle(max_change: float) -> None:
    red = np.full((32, 32, 3), (200, 40, 40), np.uint8)
    turns = []
    for seed in range(30):
        changed = change_hue(rng(seed), red, max_change)
        assert (changed == changed[0, 0]).all()
        hue, _, value = colorsys.rgb_to_hsv(*(changed[0, 0] / 255))
        turns.append(min(hue, 1 - hue))
        assert abs(255 * value - 200) <= 1, "its value stays"
    assert 0.6 * max_change < max(turns) < max_change + 0.01


def test_grey_has_no_hue_to_be_changed() -> None:
    assert (change_hue(rng(1), GREY) == GREY).all()
