import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flawmap.runtime.preprocess import WHITE
from flawmap.synthetic.foreground import part_foreground, room_around, roomy_position
from helpers import texture


def on_a_table(part: np.ndarray, level: int, margin: int = 20) -> np.ndarray:
    noise = np.random.default_rng(0).normal(level, 2, (64 + 2 * margin, 64 + 2 * margin, 1))
    image = noise.clip(0, 255).astype(np.uint8).repeat(3, axis=2)
    image[margin:-margin, margin:-margin] = part
    return image


@pytest.mark.parametrize("level", [10, 245])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_part_on_a_plain_table_is_found(level: int, dtype: type) -> None:
    image = on_a_table(texture(0), level)
    factor = WHITE[np.dtype(dtype)] / 255
    foreground = part_foreground((image * factor).astype(dtype))
    assert foreground[20:-20, 20:-20].mean() > 0.95
    assert foreground.sum() < 1.1 * 64 * 64


def test_a_hole_in_a_part_belongs_to_it() -> None:
    image = on_a_table(texture(0), 10)
    image[45:60, 45:60] = 10
    assert part_foreground(image)[45:60, 45:60].all()


@pytest.mark.parametrize("image", [texture(1, 64, 96), np.full((40, 50, 3), 90, np.uint8)])
def test_a_part_that_fills_the_image_is_everywhere(image: np.ndarray) -> None:
    assert part_foreground(image).all()


def test_a_mark_on_a_plain_part_is_not_the_part() -> None:
    image = cv2.circle(np.full((200, 200, 3), 120, np.uint8), (90, 60), 8, (20, 20, 20), -1)
    assert part_foreground(image).all()


def test_a_large_image_comes_back_in_its_own_size() -> None:
    image = np.zeros((900, 1300, 3), np.uint8)
    image[300:600, 400:800] = 200
    foreground = part_foreground(image)
    assert foreground.shape == (900, 1300)
    assert foreground[300:600, 400:800].mean() > 0.98
    assert foreground.sum() < 1.1 * 300 * 400


def test_room_is_the_distance_to_the_frame_and_to_the_background() -> None:
    foreground = np.ones((9, 9), bool)
    foreground[4, 0] = False
    room = room_around(foreground)
    assert room[4, 0] == 0
    assert room[4, 3] == 3
    assert room[0].tolist() == [1] * 9
    assert room[4, 4] == pytest.approx(4)


@given(seed=st.integers(0, 2**32), radius=st.floats(0, 40), height=st.integers(8, 60))
def test_a_position_is_in_the_foreground(seed: int, radius: float, height: int) -> None:
    foreground = np.random.default_rng(seed).random((height, 30)) < 0.3
    foreground[0, 0] = True
    x, y = roomy_position(np.random.default_rng(seed), foreground, radius)
    assert foreground[y, x]


def test_a_position_has_room_wherever_there_is_enough() -> None:
    foreground = np.zeros((60, 60), bool)
    foreground[:40, :40] = True
    foreground[50, 50] = True
    for seed in range(20):
        x, y = roomy_position(np.random.default_rng(seed), foreground, 12)
        assert 11 <= x <= 28
        assert 11 <= y <= 28


def test_positions_are_spread_over_the_part() -> None:
    foreground = np.ones((40, 40), bool)
    positions = {roomy_position(np.random.default_rng(seed), foreground, 3) for seed in range(40)}
    assert len(positions) > 30
