"""The size of a network's input, chosen by the good images: their aspect, and an area."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from flawmap.data.tile_size import TileSize
from flawmap.data.wording import first_errors
from flawmap.errors import DatasetError, ImageError, OptionError
from flawmap.runtime.image_types import ImageInput
from flawmap.runtime.images.decode import decode, map_ahead
from flawmap.runtime.input_sides import MIN_INPUT_SIDE, round_to_multiple
from flawmap.support.progress import track

_MAX_DECODED = 99
"""Most images whose aspect is looked at; a median moves little beyond, and decoding takes time."""


class ChosenSize(NamedTuple):
    """The size of a network's input, and why.

    Args:
        height: in pixels.
        width: in pixels.
        reason: why, for the user: `the median aspect 1.31 of 99 of 761 good images`.
        tile_overlap: fraction of a tile that its neighbours share; None for no tiles.
    """

    height: int
    width: int
    reason: str
    tile_overlap: float | None = None


@dataclass(frozen=True)
class AutoSize:
    """A size of the network's input that has the aspect of the good images, and a given area.

    Args:
        pixels: side of a square of that area, in pixels, 32 or more.

    Raises:
        OptionError: the side is too small for a network.

    Example:
        >>> wide = [np.zeros((80, 120, 3), np.uint8)] * 3
        >>> AutoSize(pixels=320).choose(wide, multiple=8)[:3]
        (264, 392, 'the median aspect 1.5 of 3 good images')
    """

    pixels: int = 320

    def __post_init__(self) -> None:
        if self.pixels < MIN_INPUT_SIDE:
            raise OptionError(
                f"{self.pixels} pixels a side are too few for a network; use {MIN_INPUT_SIDE} or "
                "more, such as 320"
            )

    def choose(self, images: Sequence[ImageInput], multiple: int) -> ChosenSize:
        """The size for these good images: their median aspect, and the area.

        Args:
            images: good images; of more than 99, so many are looked at, evenly spread. They are
                decoded, so that the aspect is that of an upright image.
            multiple: both sides are multiples of so many pixels.

        Raises:
            DatasetError: none of the images can be read.
            OptionError: an aspect so long that the shorter side is too small for a network.
        """
        count = min(len(images), _MAX_DECODED)
        looked_at = [images[index * len(images) // count] for index in range(count)]
        aspects = map_ahead(_log_aspect, looked_at)
        counted = track(aspects, "looking at the images' shape", len(looked_at))
        looked = list(counted)
        known = [aspect for aspect in looked if isinstance(aspect, float)]
        if not known:
            errors = first_errors([error for error in looked if isinstance(error, ImageError)])
            raise DatasetError(f"none of {len(looked_at)} images can be read{errors}")
        aspect = math.exp(median(known))
        self._check_aspect(aspect)
        height = _side(self.pixels / math.sqrt(aspect), multiple)
        width = _side(self.pixels * math.sqrt(aspect), multiple)
        of_all = "" if len(known) == len(images) else f" of {len(images)}"
        reason = f"the median aspect {aspect:.3g} of {len(known)}{of_all} good images"
        return ChosenSize(height, width, reason)

    def _check_aspect(self, aspect: float) -> None:
        elongation = math.sqrt(max(aspect, 1 / aspect))
        if self.pixels / elongation >= MIN_INPUT_SIDE:
            return
        raise OptionError(
            f"the good images are {elongation**2:.3g} times as long as wide, so with {self.pixels} "
            f"pixels the shorter side would have {self.pixels / elongation:.0f}, too few for a "
            f"network; use {math.ceil(MIN_INPUT_SIDE * elongation)} pixels or more (--pixels), or "
            "an explicit size (--size HEIGHTxWIDTH)"
        )


InputSize = int | tuple[int, int] | AutoSize | TileSize
"""Size of a network's input in pixels.

The side of a square, (height, width), by the images, or that of tiles.
"""


def _side(length: float, multiple: int) -> int:
    """The nearest multiple, or the least one that a network takes."""
    least = math.ceil(MIN_INPUT_SIDE / multiple) * multiple
    return max(round_to_multiple(length, multiple), least)


def _log_aspect(image_input: ImageInput) -> float | ImageError:
    """The logarithm of an image's width by its height, or why it cannot be read."""
    try:
        height, width = decode(image_input).shape[:2]
    except ImageError as error:
        return error  # The fit names it among those that it skips.
    return math.log(width / height)
