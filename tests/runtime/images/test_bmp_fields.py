from __future__ import annotations

import numpy as np
import pytest

from flawmap.errors import ImageError
from flawmap.runtime.images.decode import decode
from helpers import texture
from image_files import bmp, with_pillow

RGB = texture(0, 20, 31)
RGB[:, :, 1] = RGB[:, ::-1, 1]


@pytest.mark.parametrize("downwards", [False, True])
@pytest.mark.parametrize(
    "masks",
    [
        (0xFF0000, 0xFF00, 0xFF),
        (0xFF, 0xFF00, 0xFF0000),
        (0xFF00, 0xFF0000, 0xFF000000),
        (0x3FC00000, 0xFF000, 0x3FC),
    ],
)
def test_channels_lie_where_the_masks_say(masks: tuple[int, int, int], downwards: bool) -> None:
    assert np.array_equal(decode(bmp(RGB, 32, masks, downwards=downwards)), RGB)


@pytest.mark.parametrize("masks", [(0xF800, 0x7E0, 0x1F), (0x1F, 0x7E0, 0xF800)])
def test_few_bits_are_stretched_to_white(masks: tuple[int, int, int]) -> None:
    white = np.full((8, 9, 3), 255, np.uint8)
    assert np.array_equal(decode(bmp(white, 16, masks, downwards=False)), white)
    near = decode(bmp(RGB, 16, masks, downwards=False)).astype(int)
    assert np.abs(near - RGB).max() <= 255 / 31 + 1


def test_a_mask_with_a_gap_is_refused() -> None:
    data = bytearray(bmp(RGB, 32, (0xFF0000, 0xFF00, 0xFF), downwards=False))
    data[54:58] = (0x5).to_bytes(4, "little")
    with pytest.raises(ImageError, match="mask 0x5"):
        decode(bytes(data))


def test_a_bmp_that_is_cut_off_is_refused() -> None:
    for data in (bmp(RGB, 32, (0xFF, 0xFF00, 0xFF0000), downwards=True), with_pillow(RGB, "BMP")):
        with pytest.raises(ImageError, match="cut off"):
            decode(data[:-1])
