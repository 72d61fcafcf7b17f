"""Pictures from disk, decoded in threads ahead of whoever uses them; numpy only."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple, TypeVar

from flawmap.errors import PictureError
from flawmap.prepare import Photo, Pixels, Preparation, Prepared, read

S = TypeVar("S")
T = TypeVar("T")

THREADS = 4
"""Decoders at work; OpenCV lets go of Python's lock, and a few keep ahead of any network on a CPU."""

AHEAD = 8
"""Pictures decoded and not yet used, at most; large ones take 100 MB each."""


class Picture(NamedTuple):
    """One picture, decoded and prepared."""

    photo: Photo
    pixels: Pixels
    prepared: Prepared


class Unreadable(NamedTuple):
    """One picture that cannot be used, and why."""

    photo: Photo
    error: PictureError


def read_ahead(photos: Iterable[Photo], preparation: Preparation) -> Iterator[Picture | Unreadable]:
    """Decode and prepare pictures in threads, some ahead of whoever uses them; in order, the bad ones among them."""

    def load(photo: Photo) -> Picture | Unreadable:
        try:
            pixels = read(photo)
        except PictureError as error:
            return Unreadable(photo, error)
        return Picture(photo, pixels, preparation(pixels))

    return map_ahead(load, photos)


def map_ahead(function: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    """Apply a function in threads, some items ahead of whoever uses the results; in order."""
    pending = iter(items)
    with ThreadPoolExecutor(THREADS) as pool:
        results: deque[Future[T]] = deque(pool.submit(function, item) for item in islice(pending, AHEAD))
        try:
            while results:
                result = results.popleft().result()
                results.extend(pool.submit(function, item) for item in islice(pending, 1))
                yield result
        finally:
            # Whoever stops listening half way must not wait for pictures that nobody will see.
            for unheard in results:
                unheard.cancel()
