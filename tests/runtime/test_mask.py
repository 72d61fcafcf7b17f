from __future__ import annotations

import base64
import zlib
from dataclasses import asdict, replace

import cv2
import numpy as np
import pytest

from flawmap.errors import ImageError, OptionError
from flawmap.runtime.mask import CellGrid, PartMask, blank_cells, without_masked
from flawmap.runtime.preprocess import PADDING, Preprocessing
from helpers import texture


def disc(height: int, width: int) -> np.ndarray:
    """True in an ellipse in the middle."""
    rows, columns = np.ogrid[:height, :width]
    return np.asarray(
        ((rows + 0.5) / height - 0.5) ** 2 + ((columns + 0.5) / width - 0.5) ** 2 < 0.16
    )


def in_base64(image: np.ndarray, suffix: str = ".png") -> str:
    return base64.b64encode(cv2.imencode(suffix, image)[1].tobytes()).decode()


def test_a_mask_is_a_grey_png_of_one_bit_that_anything_can_decode() -> None:
    pixels = disc(40, 61)
    mask = PartMask.of(pixels)
    data = base64.b64decode(mask.png)
    assert (data[24], data[25]) == (1, 0)
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), 0)
    assert np.array_equal(np.asarray(decoded) > 0, pixels)
    assert np.array_equal(PartMask(in_base64(pixels.astype(np.uint8))).pixels, pixels)
    assert mask == PartMask.of(pixels)
    assert hash(mask) == hash(PartMask(mask.png))
    assert asdict(mask) == {"png": mask.png}
    assert mask.share == pytest.approx(pixels.mean())
    assert mask.png not in repr(mask)


@pytest.mark.parametrize(
    "size", [(40, 60), (80, 120), (20, 30), (403, 600), (13, 20), (1200, 1800)]
)
def test_an_image_of_the_same_aspect_takes_each_pixel_from_the_same_place(
    size: tuple[int, int],
) -> None:
    pixels = disc(40, 60)
    scaled = PartMask.of(pixels).at(*size)
    assert scaled.shape == size
    for row, column in np.random.default_rng(0).random((50, 2)):
        y, x = int(row * size[0]), int(column * size[1])
        old_y, old_x = (y + 0.5) / size[0] * 40, (x + 0.5) / size[1] * 60
        assert scaled[y, x] == pixels[int(old_y), int(old_x)]


@pytest.mark.parametrize("size", [(40, 62), (60, 40), (400, 580), (8, 14)])
def test_an_image_of_another_aspect_is_refused_with_both(size: tuple[int, int]) -> None:
    message = (
        rf"{size[1]}×{size[0]} pixels, an aspect of .*, and the mask is 60×40, an aspect of 1.5"
    )
    with pytest.raises(ImageError, match=message):
        PartMask.of(disc(40, 60)).at(*size)


def test_nothing_counts() -> None:
    with pytest.raises(OptionError, match="nothing counts in the mask: all of it is black"):
        PartMask.of(np.zeros((9, 9), bool))
    point = np.zeros((900, 900), bool)
    point[0, 0] = True
    with pytest.raises(ImageError, match="of 9×9 pixels none counts"):
        PartMask.of(point).at(9, 9)


@pytest.mark.parametrize(
    ("png", "reason"),
    [
        ("no base64!", "no PNG in base64"),
        ("", "no PNG in base64"),
        (base64.b64encode(b"GIF89a and so on").decode(), "no PNG in base64"),
        (in_base64(np.full((9, 9, 3), 255, np.uint8)), "no grey PNG"),
        (in_base64(np.full((9, 9), 255, np.uint16)), "no grey PNG"),
        (in_base64(np.full((9, 9), 255, np.uint8), ".jpg"), "no PNG in base64"),
        (in_base64(np.full((9, 9), 255, np.uint8))[:60], "no PNG in base64"),
        (in_base64(np.zeros((9, 9), np.uint8)), "nothing counts"),
    ],
)
def test_what_is_no_mask_is_refused(png: str, reason: str) -> None:
    with pytest.raises(OptionError, match=reason):
        PartMask(png)


def test_a_size_that_some_bytes_claim_is_refused_before_it_takes_memory() -> None:
    data = bytearray(base64.b64decode(in_base64(np.full((9, 9), 255, np.uint8))))
    data[16:24] = (60_000).to_bytes(4) * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4)
    with pytest.raises(
        OptionError, match=r"^the mask has 60000×60000 pixels, and at most 67 million can be"
    ):
        PartMask(base64.b64encode(data).decode())


def test_a_damaged_mask_is_refused_whatever_byte_is_wrong() -> None:
    data = base64.b64decode(PartMask.of(disc(20, 30)).png)
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 0x41
        with pytest.raises(OptionError, match=r"the mask|nothing counts"):
            PartMask(base64.b64encode(changed).decode())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_what_does_not_count_has_one_colour(dtype: type[np.generic]) -> None:
    image = (np.random.default_rng(0).random((20, 30, 3)) * 200).astype(dtype)
    counting = disc(20, 30)
    made = without_masked(image, counting, (10, 20.4, 30))
    assert np.array_equal(made[counting], image[counting])
    blue = 20.4 if dtype is np.float32 else 20
    assert np.array_equal(np.unique(made[~counting], axis=0), np.array([[10, blue, 30]], dtype))
    assert without_masked(image, np.ones((20, 30), bool), (0, 0, 0)) is image


@pytest.mark.parametrize("size", [(37, 61), (64, 96), (300, 450)])
def test_a_cell_counts_where_any_pixel_in_it_does(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        counting = np.zeros(size, bool)
        y, x = (int(side * part) for side, part in zip(size, rng.random(2), strict=True))
        counting[y, x] = True
        made = np.ones((1, 64, 96))
        blank_cells(made, counting, CellGrid(64, 96, 8), 0)
        grid = made[0].reshape(8, 8, 12, 8).mean(axis=(1, 3))
        assert set(np.unique(grid)) == {0, 1}
        rows = {int(y * 8 / size[0]), int(np.ceil((y + 1) * 8 / size[0])) - 1}
        columns = {int(x * 12 / size[1]), int(np.ceil((x + 1) * 12 / size[1])) - 1}
        assert {tuple(cell) for cell in np.argwhere(grid)} == {
            (r, c) for r in rows for c in columns
        }


LETTERBOXED = Preprocessing(64, 96, letterbox_beyond=0.1, multiple=8)


@pytest.mark.parametrize("size", [(64, 96), (130, 200), (50, 50), (40, 200)])
def test_preprocessing_blanks_what_does_not_count_and_leaves_the_rest(
    size: tuple[int, int],
) -> None:
    image = texture(0, *size)
    counting = np.zeros(size, bool)
    counting[: size[0] // 2] = True
    masked = replace(LETTERBOXED, mask=PartMask.of(counting))
    made, plain = masked(image), LETTERBOXED(image)
    height, width = LETTERBOXED.placement(*size)
    edge = -(-height // 16) * 8
    assert (made[:, edge:] == PADDING).all()
    assert (made[:, :, width:] == PADDING).all()
    inner = height // 2 - 4
    assert np.array_equal(made[:, :inner], plain[:, :inner])
    between = made[:, height // 2 + 2 : edge, :width]
    assert np.abs(between).max(initial=0) < 0.5 / 255 / 0.224
    image[~counting] = 255 - image[~counting]
    assert np.array_equal(masked(image), made)


def test_a_mask_of_everything_changes_no_bit() -> None:
    image = texture(0, 130, 170)
    masked = replace(LETTERBOXED, mask=PartMask.of(np.ones((13, 17), bool)))
    assert np.array_equal(masked(image), LETTERBOXED(image))
