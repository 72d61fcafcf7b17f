from __future__ import annotations

import base64
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from flawmap.errors import ImageError
from flawmap.runtime.images.decode import decode
from helpers import texture
from image_files import png, with_pillow

RGB = texture(0, 60, 90)
RGB[:, :, 1] = RGB[:, ::-1, 1]
JPEG_OPTIONS = [{}, {"progressive": True}, {"restart_marker_rows": 1}]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_format_is_turned_upright(orientation: int, image_format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = with_pillow(RGB, image_format, exif=exif, lossless=True)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(decode(data), np.asarray(ImageOps.exif_transpose(image)))


@pytest.mark.parametrize("options", JPEG_OPTIONS, ids=str)
@pytest.mark.parametrize("whole", [0.3, 0.6, 0.9, 0.97])
def test_a_jpeg_whose_end_is_zeros_or_missing_is_refused(
    options: dict[str, bool], whole: float
) -> None:
    data = with_pillow(texture(1, 200, 300), "JPEG", quality=95, **options)
    kept = data[: int(whole * len(data))]
    noise = np.random.default_rng(0).bytes(3000)
    rests = [b"", bytes(len(data) - len(kept)), b"\xff" * 99, noise, data[:500] + b"\xff\xd9"]
    for rest in rests:
        with pytest.raises(ImageError, match="cut off: its end is missing; copy it again"):
            decode(kept + rest)


@pytest.mark.parametrize("options", JPEG_OPTIONS, ids=str)
def test_what_follows_a_whole_jpeg_does_no_harm(options: dict[str, bool]) -> None:
    data = with_pillow(RGB, "JPEG", **options)
    right = decode(data)
    for rest in (bytes(1000), b"\xff" * 9, data, b"a note of the camera"):
        assert np.array_equal(decode(data + rest), right)


def test_a_thumbnail_with_an_end_of_its_own_is_not_the_images_end() -> None:
    thumbnail = with_pillow(RGB[:20, :20].copy(), "JPEG")
    data = with_pillow(texture(1, 200, 300), "JPEG", exif=b"Exif\0\0" + thumbnail)
    assert decode(data).shape == (200, 300, 3)
    with pytest.raises(ImageError, match="cut off"):
        decode(data[:-300] + bytes(300))


def _header(width: int, height: int, bits: int, kind: int) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("transparent", [False, True])
def test_png_of_few_bits(bits: int, transparent: bool) -> None:
    levels = (RGB[:, :88, 0] >> (8 - bits)).astype(np.uint8)
    columns = np.unpackbits(levels[:, :, None], axis=2)[:, :, 8 - bits :].reshape(60, -1)
    rows = np.packbits(columns, axis=1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    extra = [(b"tRNS", b"\0\1")] if transparent else []
    data = png(_header(88, 60, bits, 0), *extra, (b"IDAT", zlib.compress(raw)))
    right = levels * (255 // (2**bits - 1))
    assert np.array_equal(decode(data), np.repeat(right[:, :, None], 3, axis=2))


def test_a_transparent_colour_in_png_of_16_bits_is_a_colour() -> None:
    deep = RGB.astype(">u2") * 257
    raw = b"".join(b"\0" + row.tobytes() for row in deep)
    colour = deep[5, 5].tobytes()
    data = png(_header(90, 60, 16, 2), (b"tRNS", colour), (b"IDAT", zlib.compress(raw)))
    assert np.array_equal(decode(data), deep)


@pytest.mark.parametrize("image_format", ["PNG", "GIF", "WEBP", "AVIF"])
def test_several_images_in_a_file_are_refused(image_format: str) -> None:
    second = Image.fromarray(RGB[::-1].copy())
    data = with_pillow(RGB, image_format, save_all=True, append_images=[second])
    with pytest.raises(ImageError, match=r"holds (2|several) images; save each"):
        decode(data)


@pytest.mark.parametrize("image_format", ["PNG", "GIF", "JPEG2000", "AVIF"])
def test_one_image_in_a_format_for_several_is_read(image_format: str) -> None:
    data = with_pillow(RGB, image_format)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(decode(data), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("suffix", [".jp2", ".j2k"])
def test_jpeg_2000_of_every_mode(mode: str, suffix: str) -> None:
    image = Image.fromarray(RGB).convert(mode)
    data = with_pillow(image, "JPEG2000", no_jp2=suffix == ".j2k")
    assert np.array_equal(decode(data), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "BMP", "GIF", "JPEG2000", "AVIF"])
@pytest.mark.parametrize("whole", [0.2, 0.5, 0.9, 0.99])
def test_a_file_that_is_cut_off_is_refused(image_format: str, whole: float) -> None:
    data = with_pillow(texture(1, 200, 300), image_format)
    with pytest.raises(ImageError, match="cut off"):
        decode(data[: int(whole * len(data))])


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (png(_header(60_000, 60_000, 8, 0), (b"IDAT", zlib.compress(b"\0"))), "too many; cut it"),
        (png(_header(0, 8, 8, 0)), "header makes no sense"),
        (png((b"IDAT", b"")), "header makes no sense"),
        (with_pillow(RGB, "PNG").replace(b"IHDR", b"IHDX"), "a checksum does not match"),
        (b"RIFF\x04\0\0\0WEBP", "header makes no sense"),
        (b"\xff\xd8\xff\xc1\0\x0b\x0c\0\x40\0\x40\1\0\0\0\xff\xd9", "JPEG of 12 bits"),
        (b"\xff\xd8\xff\xd9", "cut off"),
        (b"\xff\x4f\xff\x51" + bytes(60), "cut off"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "header makes no sense"),
        (b"BM" + bytes(60), "header makes no sense"),
        (b"BM", "cut off"),
    ],
)
def test_headers_that_cannot_be_are_refused(data: bytes, why: str) -> None:
    with pytest.raises(ImageError, match=why):
        decode(data)


def test_jpeg_2000_of_12_bits_has_white_where_its_bits_end() -> None:
    """Ten rows of ten steps of 41 levels, and a last pixel of 4095, as OpenJPEG encodes them."""
    data = base64.b64decode(
        "/0//UQApAAAAAAAKAAAACgAAAAAAAAAAAAAACgAAAAoAAAAAAAAAAAABCwEB/1IADAAAAAEAAAQEAAH/XAAEQGD/"
        "ZAAlAAFDcmVhdGVkIGJ5IE9wZW5KUEVHIHZlcnNpb24gMi41LjT/kAAKAAAAAACXAAH/k9/iGBIyC1oQ2JQfNBtE"
        "HXqJlkQ6iDmhaPrEawMCDw/SDS04GaB/Q6Bri/iShr177Fe3dthjQCUbFq4lp9kRZtY6bADgH03jaGF6dY7S8tYH"
        "sDuo0By5wqCbi18PUp8gYndoWwwPVbyA+4CI2IJ+mFxl8m0xN/YwN9obPVNRWEvLy8Zg6Ly8u1lV/9k="
    )
    levels = 41 * np.arange(100).reshape(10, 10)
    levels[9, 9] = 4095
    assert np.array_equal(decode(data)[:, :, 0], levels * 65535 // 4095)
