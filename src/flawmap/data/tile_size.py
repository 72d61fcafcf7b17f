"""Tiles of large images: their size, and from which size of the images on they are used."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from flawmap.errors import ImageError, OptionError
from flawmap.runtime.image_types import ImageInput
from flawmap.runtime.images.decode import decode, map_ahead
from flawmap.runtime.input_sides import MIN_INPUT_SIDE
from flawmap.runtime.preprocess import Preprocessing

_AUTO_PIXELS = 512
"""Side of a tile where none is given, in pixels, and of a square of the area beyond which images
are cut; docs/large-images.md has the measurement."""

_MAX_DECODED = 9
"""Most images whose size is looked at."""


@dataclass(frozen=True)
class TileSize:
    """Images are cut into square tiles, which the network sees unscaled.

    Args:
        pixels: side of a tile in the images' own pixels, 32 or more; None chooses it, and cuts no
            image where the good ones are small.
        overlap: fraction of a tile that its neighbours share, 0…0.75.

    Raises:
        OptionError: a side or an overlap out of its range.

    Example:
        >>> TileSize(512, overlap=0.25).pixels
        512
    """

    pixels: int | None = None
    overlap: float = 0.25

    def __post_init__(self) -> None:
        if self.pixels is not None and self.pixels < MIN_INPUT_SIDE:
            raise OptionError(
                f"tiles of {self.pixels} pixels are too small for a network; use {MIN_INPUT_SIDE} "
                "or more, such as 512"
            )
        Preprocessing(tile_overlap=self.overlap)  # An overlap that cannot be is refused at once.

    def choose(self, images: Sequence[ImageInput]) -> TileSize | None:
        """The tiles for these good images; None where they are small enough to be resized.

        Args:
            images: good images; of more than nine, so many are looked at, evenly spread. Where none
                can be read, the fit says so.
        """
        if self.pixels is not None:
            return self
        count = min(len(images), _MAX_DECODED)
        looked_at = [images[index * len(images) // count] for index in range(count)]
        areas = [area for area in map_ahead(_area, looked_at) if area]
        if not areas or median(areas) <= _AUTO_PIXELS**2:
            return None
        return TileSize(_AUTO_PIXELS, self.overlap)


def _area(image_input: ImageInput) -> int:
    """Pixels of an image; 0 where it cannot be read."""
    try:
        return math.prod(decode(image_input).shape[:2])
    except ImageError:
        return 0  # The fit names it among those that it skips.
