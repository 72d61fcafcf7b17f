"""Images from paths, bytes and arrays, decoded in threads ahead of whoever uses them."""

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
    WHITE,
    ImageArray,
    ImageInput,
    Mask,
    Preprocessed,
    Preprocessing,
)

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""File names that count as images in a folder."""

_MIN_IMAGE_SIDE = 8
"""Smallest side of an image, in pixels; a smaller one has no texture, only a colour."""

_THREADS = 4
"""Threads that decode; OpenCV releases the GIL, and four stay ahead of any network on a CPU."""

# IMREAD_COLOR turns by the EXIF orientation and makes three channels; ANYDEPTH keeps 16 bits.
_AS_IS = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH

_S = TypeVar("_S")
_T = TypeVar("_T")


class DecodedImage(NamedTuple):
    """An image, decoded and preprocessed.

    Args:
        image_input: the image as it was given.
        image: decoded, in its own size and depth.
        preprocessed: what the network reads.
        sha256: of the file's bytes, 64 hexadecimal digits; empty for an array.
    """

    image_input: ImageInput
    image: ImageArray
    preprocessed: Preprocessed
    sha256: str


class UnreadableImage(NamedTuple):
    """An image that cannot be used, and why.

    Args:
        image_input: the image as it was given.
        error: why it cannot be used.
        sha256: of the file's bytes, 64 hexadecimal digits; empty for an array, or for a file that
            cannot be read.
    """

    image_input: ImageInput
    error: ImageError
    sha256: str


def decode_ahead(
    image_inputs: Iterable[ImageInput], preprocessing: Preprocessing
) -> Iterator[DecodedImage | UnreadableImage]:
    """Each image decoded and preprocessed, or the reason why it cannot be used, in order.

    Threads work some images ahead of whoever uses them.

    Args:
        image_inputs: paths, bytes of files, or arrays.
        preprocessing: of the network's input.

    Example:
        >>> images = [np.zeros((8, 8, 3), np.uint8), b""]
        >>> [type(image).__name__ for image in decode_ahead(images, Preprocessing(32, 32))]
        ['DecodedImage', 'UnreadableImage']
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


def map_ahead(function: Callable[[_S], _T], items: Iterable[_S], *, ahead: int = 8) -> Iterator[_T]:
    """The function's result for each item, in order; threads work some items ahead.

    Args:
        function: called in several threads at once.
        items: taken by the thread that uses the results.
        ahead: how many results may wait to be used. A decoded image can take 100 MB.

    Example:
        >>> list(map_ahead(abs, [-1, 2, -3]))
        [1, 2, 3]
    """
    pending = iter(items)
    with ThreadPoolExecutor(_THREADS) as pool:
        futures: deque[Future[_T]] = deque()
        for item in islice(pending, ahead):
            futures.append(pool.submit(function, item))
        try:
            while futures:
                result = futures.popleft().result()
                for item in islice(pending, 1):
                    futures.append(pool.submit(function, item))
                yield result
        finally:
            # Whoever stops half-way must not wait for results that nobody will use.
            for future in futures:
                future.cancel()


def decode(image_input: ImageInput) -> ImageArray:
    """The decoded image: RGB, upright by its EXIF tag, without alpha, in its own depth.

    Args:
        image_input: the path or the bytes of a JPEG, PNG, BMP, TIFF or WebP file in grey, RGB, RGBA
            or CMYK with 8 or 16 bits; or an array (height, width[, 1 | 3 | 4]) in RGB order: bool,
            uint8, uint16, or floats in 0…1.

    Raises:
        ImageError: the image is missing, empty, damaged, not an image, or smaller than 8 pixels a
            side.

    Example:
        >>> decode(np.zeros((20, 10), np.uint16)).shape
        (20, 10, 3)
    """
    return _decode_content(_read(image_input), name_of(image_input))


def decode_mask(path: Path) -> Mask:
    """The ground-truth mask in a file: True where its image is brighter than half.

    Args:
        path: of an image file that `decode` reads.

    Raises:
        ImageError: the file cannot be used, as in `decode`.
    """
    image = decode(path)
    return np.asarray(image.max(axis=2) > WHITE[image.dtype] / 2)


def name_of(image_input: ImageInput) -> str:
    """An image as messages name it: its path, or what kind of object it is.

    Args:
        image_input: the image as it was given.

    >>> name_of(b"abc"), name_of(Path("new.png"))
    ('<3 bytes>', 'new.png')
    """
    if isinstance(image_input, bytes):
        return f"<{len(image_input)} bytes>"
    if isinstance(image_input, np.ndarray):
        return f"<array {image_input.shape} {image_input.dtype}>"
    if isinstance(image_input, str | os.PathLike):
        return os.fspath(image_input)
    return f"<{type(image_input).__name__}>"


def _read(image_input: ImageInput) -> bytes | np.ndarray:
    # Through Python rather than cv2.imread, which cannot open every path on Windows and says
    # nothing when it fails.
    if isinstance(image_input, bytes | np.ndarray):
        return image_input
    name = name_of(image_input)
    if not isinstance(image_input, str | os.PathLike):
        raise ImageError(f"{name}: neither a path, nor the bytes of a file, nor a numpy array")
    try:
        return Path(image_input).read_bytes()
    except OSError as error:
        raise ImageError(f"{name}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # a path with a null byte
        raise ImageError(f"{name}: cannot be read ({error})") from error


def _sha256_of(content: bytes | np.ndarray) -> str:
    return "" if isinstance(content, np.ndarray) else hashlib.sha256(content).hexdigest()


def _decode_content(content: bytes | np.ndarray, name: str) -> ImageArray:
    if isinstance(content, np.ndarray):
        image = _from_array(content, name)
    else:
        image = _from_bytes(content, name)
    height, width = image.shape[:2]
    if min(height, width) < _MIN_IMAGE_SIDE:
        raise ImageError(
            f"{name}: {width}×{height} pixels are too few; use "
            f"{_MIN_IMAGE_SIDE}×{_MIN_IMAGE_SIDE} or more"
        )
    return image


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
            "or WebP"
        )
    if decoded.dtype not in WHITE:
        raise ImageError(f"{name}: has {decoded.dtype} pixels; save it with 8 or 16 bits")
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB))


def _from_array(array: np.ndarray, name: str) -> ImageArray:
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or not array.size:
        raise ImageError(
            f"{name}: give (height, width), or (height, width, 1 | 3 | 4) in RGB order"
        )
    if array.shape[2] == 1:
        array = np.repeat(array, 3, axis=2)
    rgb = array[:, :, :3]
    return np.ascontiguousarray(_with_known_white(rgb, name))


def _with_known_white(rgb: np.ndarray, name: str) -> np.ndarray:
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
