from __future__ import annotations

import numpy as np
import pytest

from flawmap.synthetic.heatsink_designs import DESIGNS
from flawmap.synthetic.heatsink_scene import HEATSINK_SIDE, Scene, draw_scene

SHAPE = (HEATSINK_SIDE, HEATSINK_SIDE)


def scene(product: str, seed: int = 0) -> Scene:
    return draw_scene(np.random.default_rng(seed), product)


@pytest.mark.parametrize("product", DESIGNS)
def test_a_scene_is_lit_and_has_the_part_in_it(product: str) -> None:
    drawn = scene(product)
    assert drawn.colours.shape == (*SHAPE, 3)
    assert drawn.part.shape == drawn.light.shape == SHAPE
    assert 0 <= drawn.part.min() < drawn.part.max() <= 1.001
    assert 0.3 < drawn.part.mean() < 0.8
    assert 0.6 < drawn.light.mean() < 1.6
    on_part = drawn.colours[drawn.part > 0.99].mean()
    on_table = drawn.colours[drawn.part < 0.01].mean()
    assert on_part > on_table + 10, "the table is dark"


@pytest.mark.parametrize("product", DESIGNS)
def test_the_metal_has_the_designs_colour(product: str) -> None:
    drawn = scene(product)
    unlit = drawn.colours / drawn.light[..., None]
    metal = np.median(unlit[drawn.part > 0.99], axis=0)
    assert np.abs(metal - DESIGNS[product].metal).max() < 20


def test_parts_are_shifted_a_little() -> None:
    parts = [scene("Black", seed).part for seed in range(8)]
    centres = [np.argwhere(part > 0.5).mean(axis=0) for part in parts]
    spread = np.ptp(centres, axis=0)
    assert (spread > 0.3).all()
    assert (spread < 10).all()


def test_a_seed_is_a_scene() -> None:
    for first, second, other in zip(scene("White"), scene("White"), scene("White", 1), strict=True):
        assert np.array_equal(first, second)
        assert not np.array_equal(first, other)
