from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from flawmap.errors import OptionError
from flawmap.runtime.preprocess import PADDING, Preprocessing, resize
from helpers import texture

SMOOTH = cv2.GaussianBlur(texture(0), (0, 0), 3)


def test_prepared_is_normalised() -> None:
    white = Preprocessing(32, 32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))(
        np.full((50, 70, 3), 255, np.uint8)
    )
    assert np.allclose(white, 1, atol=1e-6)


def test_a_size_too_small_is_refused() -> None:
    with pytest.raises(OptionError, match="16×224"):
        Preprocessing(16, 224)


def test_a_size_that_no_memory_holds_is_refused() -> None:
    with pytest.raises(OptionError, match=r"32×1000000 is too large .* at most 8192"):
        Preprocessing(32, 1_000_000)


def test_shrinking_sees_every_pixel() -> None:
    image = np.zeros((1000, 40, 3), np.uint8)
    image[501, 20] = 255
    # The axis that grows must not turn off the averaging of the axis that shrinks.
    assert resize(image, 100, 80).max() > 0


@given(
    arrays.arrays(np.uint8, st.tuples(st.integers(8, 40), st.integers(8, 40), st.just(3))),
    st.integers(8, 60),
    st.integers(8, 60),
)
def test_resize_stays_within_the_range_of_the_image(
    image: np.ndarray, height: int, width: int
) -> None:
    resized = resize(image, height, width)
    assert resized.shape == (height, width, 3)
    assert image.min() <= resized.min()
    assert resized.max() <= image.max()


LETTERBOXED = Preprocessing(64, 96, letterbox_beyond=0.1, multiple=8)


@given(st.integers(8, 400), st.integers(8, 400), st.sampled_from([1, 8, 16]))
def test_an_image_lies_in_the_input_in_its_own_aspect_and_fills_one_side(
    height: int, width: int, multiple: int
) -> None:
    preprocessing = Preprocessing(64, 96, letterbox_beyond=0.1, multiple=multiple)
    place = preprocessing.placement(height, width)
    assert place.height % multiple == place.width % multiple == 0
    assert place.height == 64 or place.width == 96
    scale = min(64 / height, 96 / width)
    if place != (64, 96):
        assert abs(place.height - height * scale) <= max(multiple / 2, multiple - height * scale)
        assert abs(place.width - width * scale) <= max(multiple / 2, multiple - width * scale)


@pytest.mark.parametrize(
    ("height", "width", "place"),
    [
        (640, 960, (64, 96)),
        (640, 1050, (64, 96)),  # 9.4 % off
        (640, 1100, (56, 96)),  # 14.6 % off: 55.9 pixels
        (640, 640, (64, 64)),
        (8, 800, (8, 96)),  # 0.96 pixels, and one multiple is the least
    ],
)
def test_only_images_of_another_aspect_are_letterboxed(
    height: int, width: int, place: tuple[int, int]
) -> None:
    assert LETTERBOXED.placement(height, width) == place
    assert Preprocessing(64, 96).placement(height, width) == (64, 96)


def test_the_letterboxed_image_is_the_stretched_one_of_its_size_and_the_rest_is_padding() -> None:
    image = texture(0, 300, 300)
    padded = LETTERBOXED(image)
    assert padded.shape == (3, 64, 96)
    assert padded.dtype == np.float32
    assert np.array_equal(padded[:, :, :64], Preprocessing(64, 64)(image))
    assert (padded[:, :, 64:] == PADDING).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("white", [True, False])
def test_no_pixel_of_an_image_can_be_taken_for_padding(dtype: str, white: bool) -> None:
    level = {"uint8": 255, "uint16": 65535, "float32": 1}[dtype] if white else 0
    image = np.full((64, 64, 3), level, np.dtype(dtype))
    assert np.abs(LETTERBOXED(image)[:, :, :64]).max() < abs(PADDING) / 100


def test_where_nothing_is_letterboxed_no_bit_changes() -> None:
    image = texture(0, 66, 99)
    assert np.array_equal(LETTERBOXED(image), Preprocessing(64, 96)(image))


def test_sides_that_cut_patches_are_refused_with_the_nearest_that_do_not() -> None:
    with pytest.raises(OptionError, match=r"size 100×130 cannot be .* multiples of 8, as 96x128"):
        Preprocessing(100, 130, letterbox_beyond=0.1, multiple=8)
    assert Preprocessing(100, 130, multiple=8).placement(1, 9) == (100, 130)


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)])
@pytest.mark.parametrize("letterbox_beyond", [None, 0.1])
def test_each_level_is_scaled_and_normalised(
    dtype: type[np.generic], white: int, letterbox_beyond: float | None
) -> None:
    image = (np.random.default_rng(0).random((64, 96, 3)) * white).astype(dtype)
    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)
    made = Preprocessing(64, 96, mean, std, letterbox_beyond)(image)
    scale = np.asarray(std, np.float32) * np.float32(white)
    offset = np.asarray(mean, np.float32) / np.asarray(std, np.float32)
    expected = (image.astype(np.float32) / scale - offset).transpose(2, 0, 1)
    assert np.array_equal(made, expected)
    assert made.flags.c_contiguous
