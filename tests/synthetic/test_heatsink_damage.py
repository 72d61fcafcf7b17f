from __future__ import annotations

import numpy as np
import pytest

from flawmap.synthetic.heatsink_damage import DAMAGES
from flawmap.synthetic.heatsink_scene import Scene, draw_scene

SCENE = draw_scene(np.random.default_rng(0), "White")


def change(defect_type: str, seed: int, severity: float, scene: Scene = SCENE) -> np.ndarray:
    damaged = DAMAGES[defect_type](np.random.default_rng(seed), scene, severity)
    assert damaged.dtype == np.float32
    return np.asarray(damaged - scene.colours)


@pytest.mark.parametrize("defect_type", DAMAGES)
def test_only_the_part_is_damaged(defect_type: str) -> None:
    for seed in range(6):
        difference = change(defect_type, seed, 1.0)
        assert np.abs(difference).max() > 3
        assert np.abs(difference[SCENE.part == 0]).max() < 1e-3


@pytest.mark.parametrize("defect_type", DAMAGES)
def test_severity_scales_the_damage(defect_type: str) -> None:
    strong, weak = (change(defect_type, 3, severity) for severity in (1.0, 0.25))
    assert np.allclose(weak, 0.25 * strong, atol=1e-3)


def test_a_scratch_is_grey_and_thin() -> None:
    difference = change("scratch", 1, 1.0)
    assert np.allclose(difference, difference[..., :1], atol=1e-3)
    assert (np.abs(difference[..., 0]) > 1).mean() < 0.03


def test_a_foreign_colour_is_no_grey() -> None:
    ratios = (change("foreign_colour", 1, 1.0) + SCENE.colours)[SCENE.part > 0.99]
    ratios /= SCENE.colours[SCENE.part > 0.99]
    assert np.ptp(ratios, axis=1).max() > 0.2
