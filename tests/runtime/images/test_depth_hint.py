from __future__ import annotations

import numpy as np
import pytest

from flawmap.runtime.images.depth_hint import depth_hint
from flawmap.runtime.preprocess import Preprocessing


@pytest.mark.parametrize(
    ("brightest", "bits"),
    [(1, 8), (255, 8), (256, 10), (1023, 10), (4095, 12), (4096, 14), (16383, 14)],
)
def test_the_fewest_bits_of_a_camera_that_hold_all_values(brightest: int, bits: int) -> None:
    image = np.zeros((8, 8, 3), np.uint16)
    image[4, 4, 1] = brightest
    hint = depth_hint("a.tif", image, Preprocessing())
    assert f"a.tif: brightest value {brightest:,} of 65,535: {bits} bits in 16?" in hint
    assert hint.endswith(f"--white {2**bits - 1}")
    assert not depth_hint("a.tif", image, Preprocessing(white=4095))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8, 3), np.uint16),
        np.full((8, 8, 3), 16384, np.uint16),
        np.full((8, 8, 3), 100, np.uint8),
        np.full((8, 8, 3), 0.01, np.float32),
    ],
)
def test_nothing_is_said_of_others(image: np.ndarray) -> None:
    assert not depth_hint("a.tif", image, Preprocessing())
