"""Which pixels of an image count: the mask of a part, before a network and after it."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Shaped

from flawmap.errors import ImageError, OptionError
from flawmap.runtime.images.image_headers import read_png

Counting = Bool[np.ndarray, "height width"]
"""True where an image counts."""

_Pixels = Shaped[np.ndarray, "height width channel"]
"""A decoded image, RGB."""

_Input = Shaped[np.ndarray, "channel _height _width"]
"""What a network reads."""

_MAX_PIXELS = 2**26
"""Most pixels of a mask, 67 million, as 8,192 × 8,192; some bytes can claim any number."""

_ASPECT_TOLERANCE = 0.01
"""How far an image's aspect may be off the mask's, as a fraction; where a pixel of the shortest
side is more, by that, since sides are whole pixels."""

_GREY = 0
"""The colour type of a grey PNG."""

_DEPTH_AND_COLOUR = slice(24, 26)
"""Where a PNG has its bits and its colour type: in the first block, which has a fixed place."""


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
        _check_size(*pixels.shape)
        grey = np.where(pixels, np.uint8(255), np.uint8(0))
        data = cv2.imencode(".png", grey, [cv2.IMWRITE_PNG_BILEVEL, 1])[1]
        return cls(base64.b64encode(data.tobytes()).decode())

    @cached_property
    def pixels(self) -> Counting:
        """The mask in its own size."""
        try:
            data = base64.b64decode(self.png, validate=True)
            header = read_png(data)
        except (ValueError, ImageError) as error:
            raise OptionError(f"the mask is no PNG in base64 ({error})") from error
        if data[_DEPTH_AND_COLOUR] not in (bytes([1, _GREY]), bytes([8, _GREY])):
            raise OptionError("the mask is no grey PNG of 1 or 8 bits")
        _check_size(header.height, header.width)
        try:
            grey = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
        except cv2.error:
            grey = None
        if grey is None or grey.shape != (header.height, header.width):
            raise OptionError("the mask is a damaged PNG")
        return np.asarray(grey > 0)

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
        own_height, own_width = self.pixels.shape
        ratio = (width * own_height) / (height * own_width)
        tolerance = max(_ASPECT_TOLERANCE, 1 / min(height, width, own_height, own_width))
        return bool(max(ratio, 1 / ratio) <= 1 + tolerance)

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
    rows, columns = _nearest(own_height, height), _nearest(own_width, width)
    counting: Counting = mask.pixels[rows][:, columns]
    if not counting.any():
        raise ImageError(f"of {width}×{height} pixels none counts: the mask's marks are too small")
    counting.flags.writeable = False
    return counting


def _nearest(old: int, new: int) -> np.ndarray:
    """For each of the new pixels the old one that its middle lies in."""
    middles: np.ndarray = (2 * np.arange(new) + 1) * old // (2 * new)
    return middles


def _check_size(height: int, width: int) -> None:
    if height * width > _MAX_PIXELS:
        raise OptionError(
            f"the mask has {width}×{height} pixels, and at most {_MAX_PIXELS / 1e6:.0f} million "
            "can be; save it smaller, in the same aspect, and it is scaled"
        )
    if min(height, width) < 1:
        raise OptionError("the mask has no pixels")


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
    cells = _any_in(_any_in(counting, grid.height, grid.side).T, grid.width, grid.side).T
    blank = ~cells.repeat(grid.side, 0).repeat(grid.side, 1)[: grid.height, : grid.width]
    prepared[:, : grid.height, : grid.width][:, blank] = value


def _any_in(rows: np.ndarray, length: int, side: int) -> np.ndarray:
    """Whether anything counts in rows that lie, wholly or in part, in each cell.

    Args:
        rows: of the image, (row, column).
        length: what the rows are resized to, in pixels.
        side: of a cell, in those pixels.
    """
    count = len(rows)
    starts = np.arange(0, length, side)
    first = starts * count // length
    last = -(-np.minimum(starts + side, length) * count // length)
    return np.stack([rows[a:b].any(axis=0) for a, b in zip(first, last, strict=True)])
