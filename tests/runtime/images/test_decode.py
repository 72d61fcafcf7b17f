from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from threading import Semaphore
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from flawmap.errors import ImageError
from flawmap.runtime.image_types import ImageInput
from flawmap.runtime.images.decode import (
    DecodedImage,
    UnreadableImage,
    decode,
    decode_ahead,
    decode_mask,
    map_ahead,
)
from flawmap.runtime.images.room import Room
from flawmap.runtime.preprocess import Preprocessing
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


DRAWN = np.zeros((20, 30), np.uint8)
DRAWN[3:9, 4:8] = 1
MARKED = DRAWN > 0
_BLACK = np.zeros((20, 30, 3), np.uint8)
_PALETTE = Image.fromarray(DRAWN, "L").convert("P")
_PALETTE.putpalette([0, 0, 0, 128, 0, 0])


@pytest.mark.parametrize(
    "data",
    [
        *(encode(".png", DRAWN * value) for value in (1, 2, 120, 255)),
        encode(".png", DRAWN.astype(np.uint16)),
        encode(".png", DRAWN.astype(np.uint16) * 65535),
        encode(".bmp", DRAWN),
        encode_pillow(Image.fromarray(MARKED), "PNG"),
        encode_pillow(Image.fromarray(MARKED), "TIFF", compression="group4"),
        encode_pillow(_PALETTE, "PNG"),
        encode_pillow(_PALETTE, "PNG", transparency=0),
        encode_pillow(Image.fromarray(DRAWN), "WEBP", lossless=True),
        encode_pillow(Image.fromarray(DRAWN.astype(np.int32)), "TIFF"),
        encode_pillow(Image.fromarray(DRAWN.astype(np.float32) * 255), "TIFF"),
        encode_pillow(Image.fromarray(np.dstack([_BLACK, DRAWN * 255])), "PNG"),
        encode_pillow(Image.fromarray(np.dstack([_BLACK + 255, DRAWN])), "PNG"),
        encode_pillow(Image.fromarray(np.dstack([_BLACK + 7, DRAWN])), "TIFF"),
        encode_pillow(Image.fromarray(np.dstack([_BLACK[:, :, 0], DRAWN * 9])), "PNG"),
        encode_pillow(Image.fromarray(np.dstack([DRAWN, _BLACK[:, :, :2], DRAWN + 3])), "PNG"),
        encode_pillow(Image.fromarray(np.dstack([DRAWN] * 3 + [_BLACK[:, :, 0]])), "PNG"),
        encode_pillow(Image.fromarray(DRAWN * 255), "JPEG", quality=60),
        encode_pillow(Image.fromarray(DRAWN * 255), "WEBP", quality=60),
    ],
)
def test_masks_mark_what_is_not_zero(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "mask"
    path.write_bytes(data)
    mask = decode_mask(path)
    assert mask.dtype == bool
    assert np.array_equal(mask, MARKED)


def test_a_dark_mask_in_a_lossy_file_is_refused(tmp_path: Path) -> None:
    mask = np.zeros((40, 48), np.uint8)
    mask[8:24, 8:24] = 100
    Image.fromarray(mask).save(tmp_path / "a.jpg")
    with pytest.raises(ImageError, match="a lossy mask whose brightest level is 1"):
        decode_mask(tmp_path / "a.jpg")


def test_a_mask_in_a_lossy_file_is_what_is_brighter_than_half(tmp_path: Path) -> None:
    path = tmp_path / "mask.jpg"
    levels = np.repeat(np.array([[0, 100, 150]], np.uint8), 16, axis=1)
    path.write_bytes(encode(".jpg", levels.repeat(16, axis=0)))
    assert decode_mask(path).mean(axis=0).tolist() == [0.0] * 32 + [1.0] * 16


def test_a_mask_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    path.write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"mask\.png: damaged, cut off, or not an image"):
        decode_mask(path)


def test_white_of_16_bits_is_stretched_and_what_is_brighter_is_named(tmp_path: Path) -> None:
    deep = np.rint(SMOOTH * (4095 / 255)).astype(np.uint16)
    path = tmp_path / "deep.png"
    path.write_bytes(encode(".png", deep))
    assert np.abs(decode(path, white=4095) / 257 - SMOOTH).max() < 0.05
    assert np.array_equal(decode(SMOOTH, white=4095), SMOOTH)
    brightest = int(deep.max())
    with pytest.raises(
        ImageError, match=rf"deep\.png: holds the value {brightest}, and white is 9"
    ):
        decode(path, white=9)
    good, bad = decode_ahead([path, deep * 2], Preprocessing(32, 32, white=brightest))
    assert isinstance(good, DecodedImage)
    assert isinstance(bad, UnreadableImage)


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


def test_large_images_are_decoded_no_further_ahead_than_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from flawmap.runtime.images import decode as module

    monkeypatch.setattr(module, "_BYTES_AHEAD", 3 * SMOOTH.nbytes)
    taken: list[int] = []

    class Watched(Room):
        def take(self, number: int, size: int) -> bool:
            is_waited_for = super().take(number, size)
            if size:
                taken.append(number)
            return is_waited_for

    monkeypatch.setattr(module, "Room", Watched)
    decoded = decode_ahead([SMOOTH] * 20, Preprocessing(32, 32))
    next(decoded)
    next(decoded)
    assert max(taken) <= 4
    assert len(list(decoded)) == 18


def test_an_error_among_the_inputs_frees_threads_that_wait_for_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from flawmap.runtime.images import decode as module

    monkeypatch.setattr(module, "_BYTES_AHEAD", 1)

    def inputs() -> Iterator[ImageInput]:
        yield from [SMOOTH] * 9
        raise ValueError("no more")

    decoded = decode_ahead(inputs(), Preprocessing(32, 32))
    with pytest.raises(ValueError, match="no more"):
        list(decoded)
    half = decode_ahead([SMOOTH] * 20, Preprocessing(32, 32))
    next(half)
    del half  # waits for no thread


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
