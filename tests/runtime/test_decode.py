from __future__ import annotations

import hashlib
import io
from pathlib import Path
from threading import Semaphore
from typing import Any

import cv2
import jaxtyping
import numpy as np
import pytest
from PIL import Image

from flawmap.errors import ImageError
from flawmap.runtime.decode import (
    DecodedImage,
    UnreadableImage,
    decode,
    decode_ahead,
    decode_mask,
    map_ahead,
)
from flawmap.runtime.preprocess import ImageInput, Preprocessing
from helpers import save, texture

SMOOTH = cv2.GaussianBlur(texture(0), (0, 0), 3)


def encode(suffix: str, rgb: np.ndarray) -> bytes:
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR) if rgb.ndim == 3 else rgb
    return cv2.imencode(suffix, bgr)[1].tobytes()


def encode_pillow(image: Image.Image, image_format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff"])
def test_lossless_formats_come_back_as_rgb(suffix: str) -> None:
    assert np.array_equal(decode(encode(suffix, SMOOTH)), SMOOTH)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_lossy_formats_come_back_nearly(suffix: str) -> None:
    assert np.abs(decode(encode(suffix, SMOOTH)).astype(int) - SMOOTH).mean() < 2


def test_grey_becomes_three_equal_channels() -> None:
    grey = SMOOTH[:, :, 0]
    assert np.array_equal(decode(encode(".png", grey)), np.repeat(grey[:, :, None], 3, axis=2))


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_16_bit_keeps_its_depth_and_prepares_like_8_bit(suffix: str) -> None:
    deep = decode(encode(suffix, SMOOTH[:, :, 0].astype(np.uint16) * 257))
    assert deep.dtype == np.uint16
    shallow = decode(encode(suffix, SMOOTH[:, :, 0]))
    assert np.abs(Preprocessing()(deep) - Preprocessing()(shallow)).max() < 0.02


def test_alpha_is_dropped() -> None:
    rgba = np.dstack([SMOOTH, np.full(SMOOTH.shape[:2], 7, np.uint8)])
    encoded = encode_pillow(Image.fromarray(rgba), "PNG")
    assert np.array_equal(decode(encoded), SMOOTH)
    assert np.array_equal(decode(rgba), SMOOTH)


def test_cmyk_jpeg() -> None:
    cmyk = encode_pillow(Image.fromarray(SMOOTH).convert("CMYK"), "JPEG", quality=95)
    assert np.abs(decode(cmyk).astype(int) - SMOOTH).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(orientation: int) -> None:
    image = Image.fromarray(texture(1, 40, 64))
    tag = Image.Exif()
    tag[0x0112] = orientation
    encoded = encode_pillow(image, "PNG", exif=tag)
    from PIL import ImageOps

    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(encoded))))
    assert np.array_equal(decode(encoded), upright)


@pytest.mark.parametrize(
    "array",
    [
        SMOOTH[:, :, 0],
        SMOOTH[:, :, :1],
        SMOOTH,
        SMOOTH.astype(np.uint16) * 257,
        SMOOTH / 255,
        (SMOOTH / 255).astype(np.float32),
        SMOOTH[:, ::-1],
    ],
    ids=["grey", "one channel", "rgb", "16 bit", "double", "float", "a view"],
)
def test_arrays(array: np.ndarray) -> None:
    prepared = Preprocessing(32, 32)(decode(array))
    assert prepared.shape == (3, 32, 32)
    assert prepared.dtype == np.float32


def test_bool_arrays_are_black_and_white() -> None:
    assert set(np.unique(decode(SMOOTH > 128))) == {0, 255}


def test_paths_with_spaces_parentheses_and_chinese(tmp_path: Path) -> None:
    path = tmp_path / "散热片 (黑)" / "图 1 (копия).png"
    path.parent.mkdir()
    path.write_bytes(encode(".png", SMOOTH))
    assert np.array_equal(decode(path), SMOOTH)
    assert np.array_equal(decode(str(path)), SMOOTH)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tiff", ".webp"])
@pytest.mark.parametrize("fraction", [0.02, 0.5, 0.97])
def test_a_cut_off_file_is_refused(suffix: str, fraction: float) -> None:
    data = encode(suffix, texture(0, 200, 200))
    with pytest.raises(ImageError, match="cut off"):
        decode(data[: int(len(data) * fraction)])


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("empty.png", b"", "empty"),
        ("text.png", b"not an image at all", "not an image"),
        ("dot.png", encode(".png", SMOOTH[:1, :1]), "1×1 pixels are too few"),
        (
            "line.png",
            encode(".png", np.zeros((1, 20_000, 3), np.uint8)),
            "20000×1 pixels are too few",
        ),
    ],
)
def test_bad_files_are_named(tmp_path: Path, name: str, content: bytes, why: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=why) as caught:
        decode(tmp_path / name)
    assert name in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"nowhere\.png: cannot be read"):
        decode(tmp_path / "nowhere.png")


@pytest.mark.parametrize(
    ("array", "why"),
    [
        (np.zeros((4, 32, 32, 3), np.uint8), "give"),
        (np.zeros((32, 32, 2), np.uint8), "give"),
        (np.zeros((0, 32, 3), np.uint8), "give"),
        (np.zeros((32, 32), np.int64), "no known white"),
        (np.full((32, 32), 200.0), r"0…1, these span 200…200"),
        (np.full((32, 32), np.nan), "0…1"),
    ],
)
def test_arrays_that_are_no_images(array: np.ndarray, why: str) -> None:
    with pytest.raises(ImageError, match=why):
        decode(array)


def test_masks(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    drawn = np.zeros((20, 30), np.uint8)
    drawn[3:9, 4:8] = 255
    drawn[12, 12] = 100
    path.write_bytes(encode(".png", drawn))
    mask = decode_mask(path)
    assert mask.dtype == bool
    assert mask.sum() == 24


def test_unreadable_images_keep_their_position() -> None:
    good, bad = texture(0), np.zeros((1, 1, 3), np.uint8)
    types = [type(loaded) for loaded in decode_ahead([good, bad, good], Preprocessing(32, 32))]
    assert types == [DecodedImage, UnreadableImage, DecodedImage]


def test_each_file_is_hashed_as_it_is_read(tmp_path: Path) -> None:
    file = save(tmp_path / "a.png", texture(0))
    (tmp_path / "bad.png").write_bytes(b"no image")
    bad, missing = tmp_path / "bad.png", tmp_path / "missing.png"
    inputs: list[ImageInput] = [file, file.read_bytes(), texture(0), bad, missing]
    of_file = hashlib.sha256(file.read_bytes()).hexdigest()
    of_bad = hashlib.sha256(b"no image").hexdigest()
    hashes = [loaded.sha256 for loaded in decode_ahead(inputs, Preprocessing(32, 32))]
    assert hashes == [of_file, of_file, "", of_bad, ""]


def test_threads_work_ahead_but_not_far() -> None:
    started: list[int] = []
    enough = Semaphore(0)

    def note(item: int) -> int:
        started.append(item)
        enough.release()
        return -item

    results = map_ahead(note, range(100), ahead=5)
    assert next(results) == 0
    # Five to begin with, and one in place of the first.
    assert all(enough.acquire(timeout=60) for _ in range(6))
    assert sorted(started) == [0, 1, 2, 3, 4, 5]
    assert list(results) == [-item for item in range(1, 100)]


def test_whoever_stops_waits_for_no_more_results() -> None:
    started: list[int] = []
    results = map_ahead(started.append, range(100), ahead=5)
    next(results)
    del results  # closes the generator
    assert len(started) <= 6


def test_an_error_in_a_thread_is_raised_in_its_turn() -> None:
    results = map_ahead(lambda item: 1 // item, [1, 2, 0, 4])
    assert [next(results), next(results)] == [1, 0]
    with pytest.raises(ZeroDivisionError):
        next(results)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (None, "<NoneType>: neither a path, nor the bytes of a file, nor a numpy array"),
        (5, "<int>: neither a path"),
        (bytearray(b"abc"), "<bytearray>: neither a path"),
        ("a\0b.png", "cannot be read \\(embedded null byte\\)"),
    ],
)
def test_what_is_no_image_at_all_stops_no_other(
    value: Any, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for users
    with pytest.raises(ImageError, match=why):
        decode(value)
    image = np.zeros((16, 16, 3), np.uint8)
    refused, decoded = decode_ahead([value, image], Preprocessing(32, 32))
    assert isinstance(refused, UnreadableImage)
    assert isinstance(decoded, DecodedImage)
