from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from flawmap.data import auto_size
from flawmap.data.auto_size import AutoSize
from flawmap.errors import DatasetError, OptionError
from helpers import save


def image(height: int, width: int) -> np.ndarray:
    return np.zeros((height, width, 3), np.uint8)


@given(
    st.floats(1 / 25, 25),
    st.integers(256, 640),
    st.sampled_from([8, 14, 16, 32]),
)
def test_aspect_and_area_are_kept_within_half_a_multiple(
    aspect: float, pixels: int, multiple: int
) -> None:
    height, width = round(100 / math.sqrt(aspect)), round(100 * math.sqrt(aspect))
    chosen = AutoSize(pixels).choose([image(height, width)] * 2, multiple)
    exact = width / height
    assert chosen.height % multiple == chosen.width % multiple == 0
    assert abs(chosen.height - pixels / math.sqrt(exact)) <= multiple / 2
    assert abs(chosen.width - pixels * math.sqrt(exact)) <= multiple / 2


def test_the_median_is_that_of_ratios_so_that_turned_images_weigh_the_same() -> None:
    images = [image(100, 200), image(200, 100)]
    assert AutoSize(320).choose(images, 32)[:2] == (320, 320)
    assert AutoSize(320).choose([*images, image(100, 200)], 32)[:2] == (224, 448)


def test_few_of_many_images_are_decoded_and_they_are_evenly_spread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decoded: list[np.ndarray] = []

    def decode(array: np.ndarray) -> np.ndarray:
        decoded.append(array)
        return array

    monkeypatch.setattr(auto_size, "decode", decode)
    # In the order of their names, as in a folder: first upright ones, then wide ones.
    images = [image(30, 20)] * 1000 + [image(20, 40)] * 1200
    chosen = AutoSize(320).choose(images, 32)
    assert len(decoded) == 99
    assert chosen.reason == "the median aspect 2 of 99 of 2200 good images"


def test_the_aspect_is_that_of_the_upright_image(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    Image.fromarray(image(100, 200)).save(tmp_path / "turned.jpg", exif=exif)
    chosen = AutoSize(320).choose([tmp_path / "turned.jpg"], 32)
    assert chosen[:2] == (448, 224)


def test_what_cannot_be_read_has_no_aspect(tmp_path: Path) -> None:
    good = save(tmp_path / "good.png", image(100, 200))
    chosen = AutoSize(320).choose([tmp_path / "missing.png", good, b"no image"], 32)
    assert chosen.reason == "the median aspect 2 of 1 of 3 good images"
    with pytest.raises(DatasetError, match="none of 2 images can be read"):
        AutoSize(320).choose([tmp_path / "missing.png", b"no image"], 32)


def test_a_long_part_has_a_long_input_until_its_short_side_is_too_small() -> None:
    assert AutoSize(320).choose([image(30, 900)], 8)[:2] == (56, 1752)
    with pytest.raises(OptionError, match=r"200 times as long .* 23, .* use 453 pixels or more"):
        AutoSize(320).choose([image(8, 1600)], 8)
    assert AutoSize(453).choose([image(8, 1600)], 8).height == 32


def test_a_small_side_is_rounded_up_to_what_a_network_takes() -> None:
    assert AutoSize(33).choose([image(100, 101)], 14)[:2] == (42, 42)


@pytest.mark.parametrize("pixels", [10, 0, -320])
def test_too_few_pixels_are_refused(pixels: int) -> None:
    with pytest.raises(OptionError, match=f"{pixels} pixels a side are too few"):
        AutoSize(pixels)
