"""Which pixels of an image count: the mask of a part, before a network and after it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Shaped

from flawmap.errors import ImageError, OptionError
from flawmap.runtime.grey_png import (
    PixelSize,
    check_size,
    decode_grey,
    encode_grey,
    has_aspect,
    scaled_nearest,
)

Counting = Bool[np.ndarray, "height width"]
"""True where an image counts."""

_Pixels = Shaped[np.ndarray, "height width channel"]
"""A decoded image, RGB."""

_Input = Shaped[np.ndarray, "channel _height _width"]
"""What a network reads."""


@dataclass(frozen=True)
class PartMask:
    """Which pixels of an image count: they are learned, scored, and in the heat map.

    Args:
        png: a grey PNG of 1 or 8 bits, in base64; what is not black counts.

    Raises:
        OptionError: it is no such PNG, has too many pixels, or nothing in it counts.

    Example:
        >>> mask = PartMask.of(np.array([[True, False], [True, True]]))
        >>> mask.share, mask.at(4, 4)[0].tolist()
        (0.75, [True, True, False, False])
    """

    png: str = field(repr=False)

    def __post_init__(self) -> None:
        if not self.pixels.any():
            raise OptionError("nothing counts in the mask: all of it is black")

    @classmethod
    def of(cls, pixels: Counting) -> PartMask:
        """The mask of these pixels.

        Args:
            pixels: (height, width) of the mask, True where an image counts.

        Raises:
            OptionError: nothing counts, or there are too many pixels.
        """
        height, width = pixels.shape
        check_size(height, width, "the mask")
        grey = np.where(pixels, np.uint8(255), np.uint8(0))
        return cls(encode_grey(grey, bilevel=True))

    @cached_property
    def pixels(self) -> Counting:
        """The mask in its own size."""
        return np.asarray(decode_grey(self.png, "the mask") > 0)

    @property
    def share(self) -> float:
        """The fraction of its pixels that count, more than 0 and at most 1."""
        return float(self.pixels.mean())

    def fits(self, height: int, width: int) -> bool:
        """Whether an image has the mask's aspect, within 1 % or a pixel of the shortest side.

        Args:
            height: of the image, in pixels.
            width: of the image, in pixels.
        """
        return has_aspect(PixelSize(*self.pixels.shape), height, width)

    def at(self, height: int, width: int) -> Counting:
        """The mask in the size of an image, each pixel that of the mask at the same place.

        Args:
            height: of the image, in pixels.
            width: of the image, in pixels.

        Returns:
            (height, width), not to be changed: the same array for the next image of that size.

        Raises:
            ImageError: the image has another aspect, or is so small that none of its pixels counts.
        """
        return _scaled(self, height, width)


# Two, for a series may have images of two cameras; of large ones each takes tens of megabytes.
@lru_cache(maxsize=2)
def _scaled(mask: PartMask, height: int, width: int) -> Counting:
    own_height, own_width = mask.pixels.shape
    if not mask.fits(height, width):
        raise ImageError(
            f"{width}×{height} pixels, an aspect of {width / height:.3g}, and the mask is "
            f"{own_width}×{own_height}, an aspect of {own_width / own_height:.3g}; a mask is for "
            "images of its own aspect"
        )
    counting: Counting = scaled_nearest(mask.pixels, height, width)
    if not counting.any():
        raise ImageError(f"of {width}×{height} pixels none counts: the mask's marks are too small")
    counting.flags.writeable = False
    return counting


class CellGrid(NamedTuple):
    """An image in a network's input, cut into cells.

    Args:
        height: of the image in the input, in pixels.
        width: of the image in the input, in pixels.
        side: of a cell, in pixels of the input, 1 or more.
    """

    height: int
    width: int
    side: int


def without_masked(
    image: _Pixels, counting: Counting, colour: tuple[float, float, float]
) -> _Pixels:
    """A copy of an image, of one colour where it does not count; itself where all of it counts.

    Args:
        image: decoded, (height, width, 3).
        counting: which of its pixels count.
        colour: RGB, in the image's own values; rounded where these are whole numbers.
    """
    if counting.all():
        return image
    levels = np.array(colour)
    if image.dtype != np.float32:
        levels = np.rint(levels).clip(0, np.iinfo(image.dtype).max)
    result = np.empty_like(image, order="C")
    # Row by row, which fills memory ten times as fast as pixel by pixel.
    result.reshape(len(image), -1)[:] = np.tile(levels.astype(image.dtype), image.shape[1])
    cv2.copyTo(np.ascontiguousarray(image), counting.view(np.uint8), result)
    return result


def blank_cells(prepared: _Input, counting: Counting, grid: CellGrid, value: float) -> None:
    """Give a value to each cell of a network's input in which no pixel of the image counts.

    Args:
        prepared: (channel, row, column), the image at its top left; changed in place.
        counting: which pixels of the image count, in its own size.
        grid: where the image lies in the input, and its cells.
        value: of all channels.

    Example:
        >>> prepared = np.ones((1, 4, 4))
        >>> blank_cells(prepared, np.eye(8, dtype=bool), CellGrid(4, 4, 2), 0)
        >>> prepared[0].tolist()
        [[1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]]
    """
    cells = counting_cells(counting, grid)
    blank = ~cells.repeat(grid.side, 0).repeat(grid.side, 1)[: grid.height, : grid.width]
    prepared[:, : grid.height, : grid.width][:, blank] = value


def counting_cells(counting: Counting, grid: CellGrid) -> np.ndarray:
    """In which cells of a network's input any pixel of the image counts, (row, column).

    Args:
        counting: which pixels of the image count, in its own size.
        grid: where the image lies in the input, and its cells.

    Example:
        >>> counting_cells(np.eye(8, dtype=bool), CellGrid(4, 4, 2)).tolist()
        [[True, False], [False, True]]
    """
    return _any_in(_any_in(counting, grid.height, grid.side).T, grid.width, grid.side).T


def pixels_in_cells(chosen: Counting, grid: CellGrid) -> np.ndarray:
    """How many of some pixels of the image lie, wholly or in part, in each cell, (row, column).

    Args:
        chosen: the pixels, in the image's own size.
        grid: where the image lies in the input, and its cells.

    Example:
        >>> pixels_in_cells(np.eye(8, dtype=bool), CellGrid(4, 4, 2)).tolist()
        [[4, 0], [0, 4]]
    """
    return _sums_in(_sums_in(chosen, grid.height, grid.side).T, grid.width, grid.side).T


def _any_in(rows: np.ndarray, length: int, side: int) -> np.ndarray:
    """Whether anything counts in rows that lie, wholly or in part, in each cell.

    Args:
        rows: of the image, (row, column).
        length: what the rows are resized to, in pixels.
        side: of a cell, in those pixels.
    """
    return np.stack([rows[cell].any(axis=0) for cell in _ranges(len(rows), length, side)])


def _sums_in(rows: np.ndarray, length: int, side: int) -> np.ndarray:
    """The sums of rows that lie, wholly or in part, in each cell."""
    ranges = _ranges(len(rows), length, side)
    return np.stack([rows[cell].sum(axis=0, dtype=np.int32) for cell in ranges])


def _ranges(count: int, length: int, side: int) -> list[slice]:
    """The rows of an image in each cell, as `_any_in` has them."""
    starts = np.arange(0, length, side)
    first = starts * count // length
    last = -(-np.minimum(starts + side, length) * count // length)
    return [slice(a, b) for a, b in zip(first, last, strict=True)]
