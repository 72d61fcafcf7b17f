from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from PIL import Image

from flawmap.errors import ImageError
from flawmap.runtime.images.decode import DecodedImage, UnreadableImage, decode, decode_ahead
from flawmap.runtime.images.image_input import name_of
from flawmap.runtime.preprocess import Preprocessing
from helpers import save, texture
from image_files import with_pillow

RGB = texture(0, 30, 40)
RGB[:, :, 1] = RGB[:, ::-1, 1]
PNG = with_pillow(RGB, "PNG")


class _OfBytes:
    """A path as os.fsencode makes it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __fspath__(self) -> bytes:
        return os.fsencode(self._path)


def _first_channel_ahead() -> torch.Tensor:
    return torch.from_numpy(RGB).permute(2, 0, 1)


@pytest.mark.parametrize(
    "given",
    [
        bytearray(PNG),
        memoryview(PNG),
        memoryview(bytearray(PNG + PNG))[: len(PNG)],
        RGB.data,
        io.BytesIO(PNG),
        Image.fromarray(RGB),
        Image.fromarray(RGB).convert("RGBA"),
        Image.open(io.BytesIO(PNG)),
        torch.from_numpy(RGB),
        _first_channel_ahead(),
        _first_channel_ahead().float().div(255).requires_grad_(),
        _first_channel_ahead().double().div(255),
        RGB[::-1][::-1],
        np.asfortranarray(RGB),
        np.frombuffer(RGB.tobytes(), np.uint8).reshape(RGB.shape),
        RGB.astype(">u2") * 257,
        (RGB / 255).astype(">f4"),
        (RGB / 255).astype(np.longdouble),
    ],
    ids=lambda given: f"{type(given).__name__} {getattr(given, 'dtype', '')}",
)
def test_whatever_holds_an_image_gives_the_same(given: Any) -> None:
    once, twice = decode(given), decode(given)
    assert np.array_equal(once, twice)
    white = {"uint8": 255, "uint16": 65535, "float32": 1}[once.dtype.name]
    assert np.abs(once / white * 255 - RGB).max() < 1e-4


def test_halves_are_floats() -> None:
    halves = (RGB / 255).astype(np.float16)
    assert np.array_equal(decode(halves), halves.astype(np.float32))
    brains = _first_channel_ahead().bfloat16() / 256
    assert np.abs(decode(brains) * 256 - RGB).max() < 2


def test_open_files_and_all_kinds_of_paths(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", RGB)
    with path.open("rb") as file:
        assert np.array_equal(decode(file), RGB)
        assert np.array_equal(decode(file), RGB)
        assert name_of(file) == str(path)
    closed: Any = file
    with pytest.raises(ImageError, match="closed file"):
        decode(closed)
    with path.open(encoding="latin-1") as text, pytest.raises(ImageError, match="binary mode"):
        decode(text)
    bytes_path: Any = _OfBytes(path)
    for given in (str(path), path, bytes_path):
        assert np.array_equal(decode(given), RGB)
    with pytest.raises(ImageError, match="cannot be read"):
        decode(tmp_path)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs a device without an end")
def test_a_device_is_no_file() -> None:
    with pytest.raises(ImageError, match="a device, no file"):
        decode("/dev/zero")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "La"])
def test_pillow_images_of_every_mode(mode: str) -> None:
    image = Image.fromarray(RGB).convert("LA" if mode == "La" else mode).convert(mode)
    shown = image.convert("LA") if mode == "La" else image
    assert np.array_equal(decode(image), np.asarray(shown.convert("RGB")))


def test_pillow_images_are_turned_upright_and_keep_their_depth() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = with_pillow(RGB, "JPEG", exif=exif)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(decode(image), decode(data))
    deep = RGB[:, :, 0].astype(np.uint16) * 257
    assert np.array_equal(decode(Image.fromarray(deep))[:, :, 0], deep)
    floats = (RGB[:, :, 0] / 255).astype(np.float32)
    assert np.array_equal(decode(Image.fromarray(floats))[:, :, 2], floats)


NO_IMAGES: list[tuple[Any, str]] = [
    (None, "<NoneType>: is no image; give a path"),
    (5, "<int>: is no image"),
    ([RGB], r"<list>: is no image.*numpy.asarray\(image\)"),
    ({}, "<dict>: is no image"),
    (bytearray(b"abc"), "<3 bytes>: damaged, cut off, or not an image"),
    ("a\0b.png", "cannot be read \\(embedded null byte\\)"),
    (io.BytesIO(), "<BytesIO>: the file is empty"),
    (io.StringIO("x"), "<StringIO>: was opened as text"),
    (torch.zeros(2, 3, 30, 40), r"<tensor \(2, 3, 30, 40\) torch.float32>: give \(height"),
    (torch.full((3, 30, 40), 2.0), "floats must lie in 0…1, these span 2…2"),
    (torch.zeros(3, 30, 40, dtype=torch.int64), "int64 pixels have no known white"),
    (torch.zeros(30, 40).to_sparse(), "<tensor .*: cannot be read"),
    (Image.new("I", (30, 40)), "<image 30×40 I>: int32 pixels|mode I"),
    (Image.new("F", (30, 40), 7), "floats must lie in 0…1"),
    (RGB.transpose(2, 0, 1), r"channels come first here: transpose\(1, 2, 0\)"),
    (np.zeros((30, 0, 3), np.uint8), "give"),
    (np.zeros((30, 30), object), "object pixels have no known white"),
    (np.zeros((30, 30), "U1"), "pixels have no known white"),
    (np.full((30, 30), np.inf), "NaN or infinite"),
    (np.full((30, 30), np.nan, np.float16), "NaN or infinite"),
    (np.ma.masked_equal(RGB, RGB[0, 0, 0]), "some of its pixels are masked"),
    (np.zeros((30, 30), np.complex64), "complex64 pixels have no known white"),
]


@pytest.mark.parametrize(("value", "why"), NO_IMAGES, ids=lambda value: type(value).__name__)
def test_what_is_no_image_says_what_to_give_and_stops_no_other(
    value: Any, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for users
    with pytest.raises(ImageError, match=why):
        decode(value)
    refused, decoded = decode_ahead([value, RGB], Preprocessing(32, 32))
    assert isinstance(refused, UnreadableImage)
    assert isinstance(decoded, DecodedImage)
