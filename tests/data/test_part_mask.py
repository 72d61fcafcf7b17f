from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flawmap.data.part_mask import check_mask_apart, choose_mask, read_part_mask
from flawmap.errors import ImageError, OptionError
from flawmap.runtime.image_types import ImageInput
from flawmap.runtime.mask import PartMask
from helpers import save, texture

PIXELS = np.zeros((40, 60), np.uint8)
PIXELS[10:30, 20:50] = 255


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".jpg", ".tif"])
def test_a_mask_is_read_from_any_image_file(tmp_path: Path, suffix: str) -> None:
    mask = read_part_mask(save(tmp_path / f"mask{suffix}", PIXELS))
    assert isinstance(mask, PartMask)
    assert np.array_equal(mask.pixels, PIXELS > 0)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.float32])
def test_a_mask_is_taken_from_an_array(dtype: type[np.generic]) -> None:
    mask = read_part_mask(PIXELS.astype(dtype))
    assert isinstance(mask, PartMask)
    assert np.array_equal(mask.pixels, PIXELS > 0)
    assert read_part_mask(mask) is mask


def test_what_is_no_mask_is_refused(tmp_path: Path) -> None:
    black = save(tmp_path / "mask.png", np.zeros((40, 60), np.uint8))
    with pytest.raises(OptionError, match=r"mask\.png: nothing counts, .* draw white what counts"):
        read_part_mask(black)
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(ImageError, match=r"text\.png: damaged"):
        read_part_mask(tmp_path / "text.png")


def test_the_first_image_that_can_be_read_says_whether_the_aspect_fits() -> None:
    mask = read_part_mask(PIXELS)
    chosen = choose_mask(mask, [b"", texture(0, 80, 120), texture(0, 80, 80)])
    assert chosen == (mask, "as given")
    with pytest.raises(OptionError, match="80×80 pixels, an aspect of 1, and the mask is 60×40"):
        choose_mask(mask, [b"", texture(0, 80, 80), texture(0, 80, 120)])


def test_a_mask_among_the_good_images_is_refused(tmp_path: Path) -> None:
    images: list[ImageInput] = [tmp_path / "1.png", str(tmp_path / "mask.png"), texture(0)]
    with pytest.raises(OptionError, match=r"mask\.png is among the good images, and would be"):
        check_mask_apart(str(tmp_path / "x" / ".." / "mask.png"), images)
    check_mask_apart("auto", images)
    check_mask_apart(None, images)
