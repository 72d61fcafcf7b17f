"""Decoded images in rounds, so that few large ones are held at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from flawmap.runtime.images.decode import DecodedImage, UnreadableImage
from flawmap.runtime.tiles import NetworkInput

_BYTES_OF_A_ROUND = 2**26
"""Decoded images of a round, in bytes: one of 22 megapixels or more."""


class Rounds:
    """Images that are scored in their order, and held until they are.

    What scores computes several at once. In the end it gives all that it began, so the images end
    now and then, to begin again in the next round.

    Args:
        decoded: all images.

    Attributes:
        is_over: whether there is no further round.
    """

    def __init__(self, decoded: Iterator[DecodedImage | UnreadableImage]) -> None:
        self.is_over = False
        self._decoded = decoded
        self._failure: Exception | None = None
        self._held: deque[DecodedImage | UnreadableImage] = deque()

    def network_inputs(self) -> Iterator[NetworkInput]:
        """The images of a round that can be used, as a network reads them."""
        size = 0
        for loaded in self._until_failure():
            self._held.append(loaded)
            if isinstance(loaded, DecodedImage):
                size += loaded.image.nbytes
                yield loaded.network_input
            # Else it would be held while the next one is decoded.
            del loaded
            if size > _BYTES_OF_A_ROUND:
                return
        self.is_over = True

    def _until_failure(self) -> Iterator[DecodedImage | UnreadableImage]:
        """What is decoded, until its source fails: what came before has its results."""
        # Not by `yield from`, which would end what is decoded with the first round.
        while True:
            try:
                yield next(self._decoded)
            except StopIteration:
                return
            except Exception as error:
                self._failure = error
                return

    def raise_failure(self) -> None:
        """Raise what the source of the images raised; nothing where it came to its end."""
        if self._failure is not None:
            raise self._failure

    def take_unreadable(self) -> Iterator[UnreadableImage]:
        """Images that cannot be used and come before the next one that can."""
        while self._held and isinstance(loaded := self._held[0], UnreadableImage):
            self._held.popleft()
            yield loaded

    def take(self) -> DecodedImage:
        """The next image that can be used, which is no longer held."""
        loaded = self._held.popleft()
        if isinstance(loaded, UnreadableImage):
            raise RuntimeError("take those that cannot be used first")
        return loaded
