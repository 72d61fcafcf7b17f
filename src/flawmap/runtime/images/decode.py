"""Images as users have them to decoded images, in threads ahead of whoever uses them."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from flawmap.errors import ImageError
from flawmap.runtime.image_types import ImageArray, ImageInput, Mask
from flawmap.runtime.images.image_array import check_array, to_rgb
from flawmap.runtime.images.image_file import ImageFile, open_image_file
from flawmap.runtime.images.image_input import name_of, read_input, stored_size
from flawmap.runtime.images.room import Room
from flawmap.runtime.preprocess import Preprocessing
from flawmap.runtime.tiles import NetworkInput, prepare
from flawmap.support.process import HomeProcess

_MIN_IMAGE_SIDE = 8
"""Smallest side of an image, in pixels; a smaller one has no texture, only a colour."""

_THREADS = 4
"""Threads that decode; OpenCV releases the GIL, and four stay ahead of any network on a CPU."""

_BYTES_AHEAD = 2**28
"""Decoded images that wait to be used, in bytes: two of 40 megapixels, or eight of 10."""

_BYTES_AHEAD_OF_TILES = 2**26
"""The same where images are cut: an image takes seconds, so the next one alone may wait."""

_NOBODY_WAITS = "is no longer waited for"
"""Seen by nobody: many large images that are decoded in vain at the end would take much memory."""

_HALF = 127.5
"""What is brighter in a lossy mask of 8 bits is marked."""

_S = TypeVar("_S")
_T = TypeVar("_T")


class DecodedImage(NamedTuple):
    """An image, decoded and preprocessed.

    Args:
        image_input: the image as it was given.
        image: decoded, in its own size and depth.
        network_input: what of it the network reads; tiles are made ready when they are used.
        sha256: of the file's bytes, 64 hexadecimal digits; empty for an array.
    """

    image_input: ImageInput
    image: ImageArray
    network_input: NetworkInput
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

    Threads work some images ahead of whoever uses them, as far as 256 MB of decoded images go; 64
    MB where images are cut into tiles, since they are used more slowly.

    Args:
        image_inputs: images as users have them.
        preprocessing: of the network's input.

    Example:
        >>> images = [np.zeros((8, 8, 3), np.uint8), b""]
        >>> [type(image).__name__ for image in decode_ahead(images, Preprocessing(32, 32))]
        ['DecodedImage', 'UnreadableImage']
    """
    is_tiled = preprocessing.tile_overlap is not None
    room = Room(_BYTES_AHEAD_OF_TILES if is_tiled else _BYTES_AHEAD)
    load = partial(_load, preprocessing, room)
    results = map_ahead(load, enumerate(image_inputs), on_end=room.close)
    for number in count():
        # Not kept in a variable, which would hold the image while the next one is decoded.
        try:
            yield next(results)
        except StopIteration:
            return
        room.give_back(number)


def map_ahead(
    function: Callable[[_S], _T],
    items: Iterable[_S],
    *,
    ahead: int = 8,
    on_end: Callable[[], None] | None = None,
) -> Iterator[_T]:
    """The function's result for each item, in order; threads work some items ahead.

    Args:
        function: called in several threads at once.
        items: taken by the thread that uses the results.
        ahead: how many results may wait to be used.
        on_end: called before the threads are waited for at the end, or wherever the use of the
            results ends.

    Raises:
        Exception: what the items raise, after the results of the items before.

    Example:
        >>> list(map_ahead(abs, [-1, 2, -3]))
        [1, 2, 3]
    """
    pending = _Until(items)
    futures: deque[Future[_T]] = deque()
    home = HomeProcess("a pool of threads")
    pool = ThreadPoolExecutor(_THREADS)
    try:
        for item in islice(pending, ahead):
            futures.append(pool.submit(function, item))
        while futures:
            wait([futures[0]])
            for item in islice(pending, 1):
                futures.append(pool.submit(function, item))
            yield futures.popleft().result()
        if pending.failure:
            raise pending.failure
    finally:
        # A forked process that drops its copy of this has none of the threads, but their locks.
        if home.is_here:
            # Whoever stops half-way must not wait for results that nobody will use.
            for future in futures:
                future.cancel()
            if on_end:
                on_end()
            pool.shutdown()


class _Until(Iterator[_S]):
    """The items up to a failure of what gives them, which is kept.

    Args:
        items: from any source.

    Attributes:
        failure: what the source raised.
    """

    def __init__(self, items: Iterable[_S]) -> None:
        self.failure: Exception | None = None
        self._items = iter(items)

    def __next__(self) -> _S:
        if self.failure:
            raise StopIteration
        try:
            return next(self._items)
        except StopIteration:
            raise
        except Exception as error:
            self.failure = error
            raise StopIteration from error


def decode(image_input: ImageInput, white: int | None = None) -> ImageArray:
    """The decoded image: RGB, upright by its EXIF tag, without alpha, in its own depth.

    docs/images.md lists the formats, depths and channels that are read.

    Args:
        image_input: a path, the bytes of a file, an open file, an array, a Pillow image or a torch
            tensor. Arrays and tensors are bool, uint8, uint16, or floats in 0…1; arrays are
            (height, width[, 1 | 3 | 4]) in RGB order, tensors that or (1 | 3 | 4, height, width).
        white: the level of white in images of 16 bits, such as 4095 for a camera of 12 bits; None
            for 65535.

    Returns:
        Of uint8, uint16 or float32, in which white is 255, 65535 or 1 whatever it was in the file.

    Raises:
        ImageError: the image is missing, empty, damaged, cut off, not an image, of a kind that is
            not read, smaller than 8 pixels a side, or has levels above white.

    Example:
        >>> decode(np.zeros((20, 10), np.uint16)).shape
        (20, 10, 3)
    """
    with _named(image_input):
        return to_rgb(_open(read_input(image_input)).read(), white)


def file_sha256(image_input: ImageInput) -> str:
    """SHA-256 of an image file's bytes, in 64 hexadecimal digits; the image is not decoded.

    Args:
        image_input: as `decode` takes it.

    Returns:
        Empty for an array, and for a file that cannot be read.

    Example:
        >>> file_sha256(b"a")[:8], file_sha256(np.zeros((8, 8), np.uint8))
        ('ca978112', '')
    """
    try:
        return _sha256_of(read_input(image_input))
    except ImageError:
        return ""


def decode_mask(path: Path) -> Mask:
    """The mask in a file: True where it marks something, such as a defect or what counts.

    What is not 0 marks; in a lossy file, such as a JPEG, what is brighter than half. Where all
    pixels have one colour and alpha differs, alpha is the mask.

    Args:
        path: of an image file that `decode` reads, of any depth.

    Raises:
        ImageError: the file cannot be used, as in `decode`.
    """
    with _named(path):
        opened = _open(read_input(path), with_alpha=True)
        pixels = opened.read()
        colours = 1 if pixels.shape[2] <= 2 else 3
        marks, alpha = pixels[:, :, :colours], pixels[:, :, colours:]
        if alpha.size and alpha.min() < alpha.max() and (marks == marks[0, 0]).all():
            marks = alpha
        brightest = marks.max()
        if opened.is_lossy and 0 < brightest <= _HALF:
            raise ImageError(
                f"a lossy mask whose brightest level is {brightest:g}, so that a mark cannot be "
                "told from noise; save it as PNG, or with 255 where the defect is"
            )
        return np.asarray(marks.max(axis=2) > (_HALF if opened.is_lossy else 0))


def _open(content: bytes | np.ndarray, *, with_alpha: bool = False) -> ImageFile:
    if isinstance(content, bytes):
        opened = open_image_file(content, with_alpha=with_alpha)
    else:
        array = check_array(content)
        height, width = array.shape[:2]
        pixel_size = array.shape[2] * array.itemsize
        opened = ImageFile(width, height, pixel_size, False, lambda: array)
    if min(opened.height, opened.width) < _MIN_IMAGE_SIDE:
        raise ImageError(
            f"{opened.width}×{opened.height} pixels are too few; use "
            f"{_MIN_IMAGE_SIDE}×{_MIN_IMAGE_SIDE} or more"
        )
    return opened


def _load(
    preprocessing: Preprocessing, room: Room, numbered: tuple[int, ImageInput]
) -> DecodedImage | UnreadableImage:
    number, image_input = numbered
    sha256 = ""
    try:
        with _named(image_input):
            if not room.take(number, stored_size(image_input)):
                raise ImageError(_NOBODY_WAITS)
            content = read_input(image_input)
            sha256 = _sha256_of(content)
            opened = _open(content)
            if not room.take(number, len(content) + opened.size):
                raise ImageError(_NOBODY_WAITS)
            image = to_rgb(opened.read(), preprocessing.white)
            room.take(number, image.nbytes)
            network_input = prepare(image, preprocessing)
    except ImageError as error:
        return UnreadableImage(image_input, error, sha256)
    return DecodedImage(image_input, image, network_input, sha256)


@contextmanager
def _named(image_input: ImageInput) -> Iterator[None]:
    """Put the image's name before the message of an error."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{name_of(image_input)}: {error}") from error
    except MemoryError as error:
        raise ImageError(f"{name_of(image_input)}: takes more memory than there is") from error


def _sha256_of(content: bytes | np.ndarray) -> str:
    return "" if isinstance(content, np.ndarray) else hashlib.sha256(content).hexdigest()
