"""Images from disk, decoded in threads ahead of whoever uses them; numpy only."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

import cv2
import numpy as np

from flawmap.errors import ImageError
from flawmap.runtime.preprocess import (
    _WHITE,
    ImageArray,
    ImageInput,
    Mask,
    Preprocessed,
    Preprocessing,
)

S = TypeVar("S")
T = TypeVar("T")

THREADS = 4
"""Threads that decode; OpenCV releases the GIL, and four stay ahead of any CPU network."""

MAX_DECODED_AHEAD = 8
"""Images decoded and not yet used, at most; large ones take 100 MB each."""


class DecodedImage(NamedTuple):
    """One image, decoded and prepared."""

    image_input: ImageInput
    image: ImageArray
    preprocessed: Preprocessed
    sha256: str
    """Of the file's bytes, 64 hexadecimal digits; empty for an array."""


class UnreadableImage(NamedTuple):
    """One image that cannot be used, and why."""

    image_input: ImageInput
    error: ImageError
    sha256: str
    """Of the file's bytes, 64 hexadecimal digits; empty where it has none."""


def decode_ahead(
    image_inputs: Iterable[ImageInput], preprocessing: Preprocessing
) -> Iterator[DecodedImage | UnreadableImage]:
    """Decode and prepare images in threads, some ahead of whoever uses them.

    In order, the bad ones among them.
    """

    def load(image_input: ImageInput) -> DecodedImage | UnreadableImage:
        sha256 = ""
        try:
            content = _read(image_input)
            sha256 = _sha256_of(content)
            image = _decode_content(content, name_of(image_input))
        except ImageError as error:
            return UnreadableImage(image_input, error, sha256)
        return DecodedImage(image_input, image, preprocessing(image), sha256)

    return map_ahead(load, image_inputs)


def map_ahead(function: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    """Apply a function in threads, some items ahead of whoever uses the results; in order."""
    pending = iter(items)
    with ThreadPoolExecutor(THREADS) as pool:
        results: deque[Future[T]] = deque(
            pool.submit(function, item) for item in islice(pending, MAX_DECODED_AHEAD)
        )
        try:
            while results:
                result = results.popleft().result()
                results.extend(pool.submit(function, item) for item in islice(pending, 1))
                yield result
        finally:
            # Whoever stops listening half way must not wait for images that nobody will see.
            for unheard in results:
                unheard.cancel()


SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""File names that count as images in a folder."""

MIN_IMAGE_SIDE = 8
"""Pixels a side; below it there is no texture to judge, only a colour."""
# IMREAD_COLOR turns by the EXIF orientation and makes three channels; ANYDEPTH keeps 16 bits.
_AS_IS = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH


def decode(image_input: ImageInput) -> ImageArray:
    """Decode an image: JPEG, PNG, BMP, TIFF or WebP.

    Grey, RGB, RGBA or CMYK; 8 or 16 bits; upright by its EXIF tag.

    Alpha is dropped. 16-bit images keep their depth. Arrays may be bool, uint8, uint16, or floats
    in 0…1.

    Raises:
        ImageError: the image is missing, empty, damaged, not an image, or smaller than 8 pixels a
            side.
    """
    return _decode_content(_read(image_input), name_of(image_input))


def _decode_content(content: bytes | np.ndarray, name: str) -> ImageArray:
    if isinstance(content, np.ndarray):
        image = _from_array(content, name)
    else:
        image = _from_bytes(content, name)
    if min(image.shape[:2]) < MIN_IMAGE_SIDE:
        height, width = image.shape[:2]
        raise ImageError(
            f"{name}: {width}×{height} pixels are too few; use {MIN_IMAGE_SIDE}×{MIN_IMAGE_SIDE} "
            f"or more"
        )
    return image


def decode_mask(path: Path) -> Mask:
    """Decode a ground-truth mask: True where the image of the mask is brighter than half.

    Raises:
        ImageError: as `read` does.
    """
    image = decode(path)
    return np.asarray(image.max(axis=2) > _WHITE[image.dtype] / 2)


def name_of(image_input: ImageInput) -> str:
    """Name an image in a message: its path, or what kind of object it is."""
    if isinstance(image_input, bytes):
        return f"<{len(image_input)} bytes>"
    if isinstance(image_input, np.ndarray):
        return f"<array {image_input.shape} {image_input.dtype}>"
    return os.fspath(image_input)


def _read(image_input: ImageInput) -> bytes | np.ndarray:
    # Through Python rather than cv2.imread, which cannot open every path on Windows and says
    # nothing when it fails.
    if isinstance(image_input, bytes | np.ndarray):
        return image_input
    try:
        return Path(image_input).read_bytes()
    except OSError as error:
        raise ImageError(f"{name_of(image_input)}: cannot be read ({error.strerror})") from error


def _sha256_of(content: bytes | np.ndarray) -> str:
    return "" if isinstance(content, np.ndarray) else hashlib.sha256(content).hexdigest()


def _from_bytes(data: bytes, name: str) -> ImageArray:
    if not data:
        raise ImageError(f"{name}: the file is empty")
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), _AS_IS)
    except cv2.error as error:
        raise ImageError(f"{name}: cannot be decoded ({error.err})") from error
    if decoded is None:
        raise ImageError(
            f"{name}: damaged, cut off, or not an image; save it again as PNG, JPEG, BMP, TIFF "
            f"or WebP"
        )
    if decoded.dtype not in _WHITE:
        raise ImageError(f"{name}: has {decoded.dtype} pixels; save it with 8 or 16 bits")
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB))


def _from_array(array: np.ndarray, name: str) -> ImageArray:
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or not array.size:
        raise ImageError(
            f"{name}: give (height, width), or (height, width, 1 | 3 | 4) in RGB order"
        )
    rgb = np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array[:, :, :3]
    return np.ascontiguousarray(_known_depth(rgb, name))


def _known_depth(rgb: np.ndarray, name: str) -> np.ndarray:
    if rgb.dtype == bool:
        return rgb.astype(np.uint8) * np.uint8(255)
    if rgb.dtype in (np.uint8, np.uint16):
        return rgb
    if np.issubdtype(rgb.dtype, np.floating):
        # Written so that a NaN fails it too.
        if not (rgb.min() >= 0 and rgb.max() <= 1):
            raise ImageError(
                f"{name}: floats must lie in 0…1, these span {rgb.min():.3g}…{rgb.max():.3g}"
            )
        return rgb.astype(np.float32)
    raise ImageError(
        f"{name}: {rgb.dtype} pixels have no known white; give uint8, uint16, or floats in 0…1"
    )
