from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from flawmap.errors import OptionError
from flawmap.runtime.preprocess import Preprocessing, resize
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
