from __future__ import annotations

import cv2
import numpy as np
import pytest

from flawmap.features.spectrum import is_hypersphere


def blob(radius: float) -> np.ndarray:
    """A bright disc in the middle, round as its spectrum."""
    image = cv2.circle(
        np.zeros((289, 289, 3), np.float32), (144, 144), round(radius), (255, 255, 255), -1
    )
    return np.asarray(image)


def test_a_round_part_spreads_evenly() -> None:
    assert is_hypersphere(blob(20))


def test_stripes_have_a_spectrum_along_a_line_and_do_not() -> None:
    wave = 127 + 127 * np.sin(np.arange(200) * 2 * np.pi / 80)
    assert not is_hypersphere(np.repeat(np.tile(wave, (200, 1))[..., None], 3, axis=2))


@pytest.mark.parametrize("grey", [0, 128])
def test_a_plain_image_does_not(grey: int) -> None:
    assert not is_hypersphere(np.full((64, 96, 3), grey, np.float32))
