"""Pictures from disk, decoded in threads ahead of whoever uses them; numpy only."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple, TypeVar

from flawmap.errors import ImageError
from flawmap.prepare import ImageArray, ImageInput, Preprocessed, Preprocessing, decode

S = TypeVar("S")
T = TypeVar("T")

THREADS = 4
"""Decoders at work; OpenCV lets go of Python's lock, and a few keep ahead of any network on a CPU."""

MAX_DECODED_AHEAD = 8
"""Pictures decoded and not yet used, at most; large ones take 100 MB each."""


class DecodedImage(NamedTuple):
    """One picture, decoded and prepared."""

    image_input: ImageInput
    image: ImageArray
    preprocessed: Preprocessed


class UnreadableImage(NamedTuple):
    """One picture that cannot be used, and why."""

    image_input: ImageInput
    error: ImageError


def decode_ahead(image_inputs: Iterable[ImageInput], preprocessing: Preprocessing) -> Iterator[DecodedImage | UnreadableImage]:
    """Decode and prepare pictures in threads, some ahead of whoever uses them; in order, the bad ones among them."""

    def load(image_input: ImageInput) -> DecodedImage | UnreadableImage:
        try:
            image = decode(image_input)
        except ImageError as error:
            return UnreadableImage(image_input, error)
        return DecodedImage(image_input, image, preprocessing(image))

    return map_ahead(load, image_inputs)


def map_ahead(function: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    """Apply a function in threads, some items ahead of whoever uses the results; in order."""
    pending = iter(items)
    with ThreadPoolExecutor(THREADS) as pool:
        results: deque[Future[T]] = deque(pool.submit(function, item) for item in islice(pending, MAX_DECODED_AHEAD))
        try:
            while results:
                result = results.popleft().result()
                results.extend(pool.submit(function, item) for item in islice(pending, 1))
                yield result
        finally:
            # Whoever stops listening half way must not wait for pictures that nobody will see.
            for unheard in results:
                unheard.cancel()
