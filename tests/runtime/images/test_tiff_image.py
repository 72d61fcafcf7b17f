from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from flawmap.errors import ImageError
from flawmap.runtime.images.decode import decode
from helpers import texture
from image_files import tiff, with_pillow

RGB = texture(0, 40, 56)
RGB[:, :, 1] = RGB[:, ::-1, 1]
ALPHA = np.zeros((40, 56, 1), np.uint8)


def of_type(pixels: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "u2":
        return pixels.astype(np.uint16) * 257
    return (pixels / np.float32(255)).astype(dtype) if dtype[0] == "f" else pixels


LAYOUTS: list[dict[str, Any]] = [
    {},
    {"order": ">"},
    {"big": True},
    {"deflate": True},
    {"deflate": True, "order": ">", "big": True},
    {"tile": 16},
    {"tile": 32, "deflate": True},
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("dtype", ["u1", "u2", "f2", "f4", "f8"])
@pytest.mark.parametrize("planes_apart", [False, True], ids=["together", "apart"])
def test_every_layout_comes_back_as_it_was(
    layout: dict[str, Any], dtype: str, planes_apart: bool
) -> None:
    rgb = of_type(RGB, dtype)
    rgba = np.dstack([rgb, of_type(ALPHA, dtype)])
    for pixels in (rgb, rgba):
        data = tiff(pixels, planes_apart=planes_apart, **layout)
        decoded = decode(data)
        assert np.array_equal(decoded, rgb.astype(np.float32) if dtype[0] == "f" else rgb)
        assert np.array_equal(decode(data), decoded)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_grey_with_and_without_alpha(dtype: str) -> None:
    grey = of_type(RGB[:, :, :1], dtype)
    for pixels in (grey, np.dstack([grey, of_type(ALPHA, dtype)])):
        assert np.array_equal(decode(tiff(pixels)), np.repeat(grey, 3, axis=2))


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_white_is_zero_is_turned_round(dtype: str) -> None:
    grey = of_type(RGB[:, :, :1], dtype)
    stored = np.iinfo(grey.dtype).max - grey
    assert np.array_equal(decode(tiff(stored, photometric=0)), np.repeat(grey, 3, axis=2))


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate", "jpeg"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK"])
def test_what_pillow_writes_is_read_as_pillow_reads_it(compression: str, mode: str) -> None:
    if compression == "jpeg" and mode in ("P", "RGBA"):
        pytest.skip("no such files")
    data = with_pillow(Image.fromarray(RGB).convert(mode), "TIFF", compression=compression)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(decode(data), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("compression", ["tiff_lzw", "group4", "packbits", None])
def test_black_and_white(compression: str | None) -> None:
    options = {"compression": compression} if compression else {}
    bits = RGB[:, :, 0] > 120
    data = with_pillow(Image.fromarray(bits), "TIFF", **options)
    assert np.array_equal(decode(data)[:, :, 0], np.where(bits, 255, 0))


@pytest.mark.parametrize("predictor", [1, 2])
def test_differences_between_neighbours(predictor: int) -> None:
    deep = of_type(RGB, "u2")
    steps = np.diff(deep, axis=1, prepend=np.zeros((40, 1, 3), np.uint16))
    data = tiff(deep if predictor == 1 else steps, deflate=True, tags={317: [predictor]})
    assert np.array_equal(decode(data), deep)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("pixels", [RGB, of_type(RGB, "u2")], ids=["8 bits", "16 bits"])
def test_orientation_is_undone(orientation: int, pixels: np.ndarray) -> None:
    turned = with_pillow(RGB, "TIFF", tiffinfo={274: orientation})
    with Image.open(io.BytesIO(turned)) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    decoded = decode(tiff(pixels, tags={274: [orientation]}))
    assert np.array_equal(decoded // (1 if decoded.dtype == np.uint8 else 257), upright)


def test_smaller_versions_of_the_image_are_no_images_of_their_own() -> None:
    first = with_pillow(RGB, "TIFF")
    stream = io.BytesIO()
    Image.fromarray(RGB).save(
        stream, "TIFF", save_all=True, append_images=[Image.fromarray(RGB[::2, ::2].copy())]
    )
    with pytest.raises(ImageError, match="holds 2 images; save each as a file of its own"):
        decode(stream.getvalue())
    assert np.array_equal(decode(first), RGB)
    assert np.array_equal(decode(tiff(RGB, pages=1, tags={254: [0]})), RGB)
    with pytest.raises(ImageError, match="a thumbnail alone"):
        decode(tiff(RGB, tags={254: [1]}))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (tiff(np.dstack([RGB, RGB[:, :, :2]])), "has 5 channels; save it as grey or RGB"),
        (tiff(RGB, pages=3), "holds 3 images"),
        (tiff(RGB, tags={270: list(b"ImageJ=1.11a\nimages=7\nslices=7\0")}), "holds 7 images"),
        (tiff(RGB.astype(np.int16)), "int16 pixels have no known white"),
        (tiff(RGB.astype(np.uint32)), "uint32 pixels have no known white"),
        (tiff(RGB.astype(np.float32)), r"floats must lie in 0…1, these span"),
        (tiff(np.full((9, 9, 1), np.nan)), "NaN or infinite"),
        (tiff(of_type(RGB, "f4")[:, :, :1], photometric=0), "with white as zero"),
        (tiff(RGB, tags={259: [34712]}), "compressed in a way that is not read"),
        (tiff(RGB, tags={258: [10] * 3}), "10 bits a channel in a layout that is not read"),
        (tiff(RGB, tags={256: [0]}), "its tags contradict each other"),
        (tiff(RGB, tags={256: [60_000], 257: [60_000], 278: [60_000]}), "cut off"),
        (tiff(RGB)[:-5], "its tags lie outside of it"),
        (tiff(RGB, tags={279: [10**6] * 4}), "cut off"),
        (with_pillow(Image.new("LAB", (56, 40)), "TIFF"), "mode LAB"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(data: bytes, why: str) -> None:
    with pytest.raises(ImageError, match=why):
        decode(data)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "jpeg"])
def test_a_tiff_that_is_cut_off_is_refused(part: float, compression: str) -> None:
    data = with_pillow(texture(1, 200, 300), "TIFF", compression=compression)
    with pytest.raises(ImageError, match="cut off"):
        decode(data[: int(part * len(data))])


def test_pages_that_form_a_ring_end() -> None:
    data = bytearray(tiff(RGB))
    start = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[start : start + 2], "little")
    data[start + 2 + 12 * count :][:4] = data[4:8]
    end = start + 2 + 12 * count
    data[end : end + 4] = data[4:8]
    with pytest.raises(ImageError, match="its tags lie outside of it"):
        decode(bytes(data))
