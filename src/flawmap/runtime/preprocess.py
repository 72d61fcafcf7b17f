"""From a decoded image to what a network reads: the one way, in fit, inspection and exports.

Resize, scale, normalise, with OpenCV and NumPy only, so that a PC beside the line preprocesses
images exactly as the PC that fitted did. Verdicts that change after an export come from two ways of
resizing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from flawmap.errors import OptionError
from flawmap.runtime.image_types import ImageArray, ImageOrMap, ImageU8, Preprocessed
from flawmap.runtime.input_sides import MIN_INPUT_SIDE, round_to_multiple
from flawmap.runtime.mask import CellGrid, Counting, PartMask, blank_cells, without_masked
from flawmap.runtime.zones import Zones

WHITE = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0, np.dtype(np.float32): 1.0}
"""Value of white in a decoded image, by its data type."""

PADDING = -1e4
"""What all three channels of the input hold where there is no image; normalised pixels are within
some tens of 0, so whoever reads the input can tell."""

_LARGEST_SCALE = 1e6
"""Means and deviations beyond it, or below its inverse, leave nothing of an image."""

_MAX_INPUT_SIDE = 8192
"""Largest side of a network's input, in pixels; what is above would not fit into memory."""

_MAX_TILE_OVERLAP = 0.75
"""Beyond it each pixel would be computed more than 16 times."""


class _Placement(NamedTuple):
    """Where an image lies in the network's input: at the top left, in this size.

    Args:
        height: in pixels of the input; what lies below is padding.
        width: in pixels of the input; what lies to the right is padding.
    """

    height: int
    width: int


@dataclass(frozen=True)
class Preprocessing:
    """How images are made ready for a network.

    The whole image is resized, without a crop, since defects are at edges too. Each axis that
    shrinks is averaged over areas, so that no pixel of the image is skipped; each axis that grows
    is interpolated. An image of another aspect than the input is stretched, or letterboxed: it is
    placed at the top left in its own aspect, and the rest of the input is `PADDING`.

    Args:
        height: of the network's input, in pixels, 32…8192.
        width: of the network's input, in pixels, 32…8192.
        mean: per channel, on RGB in 0…1; what the backbone was trained with.
        std: per channel, likewise.
        letterbox_beyond: images whose aspect is off the input's by more than this fraction are
            letterboxed, >= 0; None stretches all.
        multiple: sides of a letterboxed image are multiples of so many pixels, so that each patch
            is wholly image or wholly padding; 1 or more.
        white: the level of white in images of 16 bits, 1…65535, as they are decoded; None for
            65535. What is decoded has white at 65535.
        tile_overlap: fraction of a tile that its neighbours share, 0…0.75, where images are cut
            into tiles of the input's size, unscaled; None where the whole image is resized.
        mask: which pixels of an image count; None where all do. What does not count is of the mean
            colour, and `PADDING` where nothing of a cell of `multiple` pixels counts.
        zones: named parts of an image, each scored by itself; None where the image has one score.

    Raises:
        OptionError: a side is below 32 or above 8192 pixels, or no multiple of `multiple` where
            images are letterboxed or cut, or have zones; `std` or `multiple` is not above 0;
            `white` is no level of 16 bits; or tiles overlap too much, or are letterboxed.

    Example:
        >>> Preprocessing(height=32, width=48)(np.zeros((100, 40, 3), np.uint8)).shape
        (3, 32, 48)
    """

    height: int = 224
    width: int = 224
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    letterbox_beyond: float | None = None
    multiple: int = 1
    white: int | None = None
    tile_overlap: float | None = None
    mask: PartMask | None = None
    zones: Zones | None = None

    def __post_init__(self) -> None:
        if self.white is not None and not 1 <= self.white <= 65535:
            raise OptionError(f"white is {self.white}; use a level of 16 bits, as 4095 of 12 bits")
        if min(self.height, self.width) < MIN_INPUT_SIDE:
            raise OptionError(
                f"size {self.height}×{self.width} is too small for a network; use "
                f"{MIN_INPUT_SIDE}×{MIN_INPUT_SIDE} or more"
            )
        if max(self.height, self.width) > _MAX_INPUT_SIDE:
            raise OptionError(
                f"size {self.height}×{self.width} is too large for a network; use sides of at most "
                f"{_MAX_INPUT_SIDE} pixels, such as 448×448"
            )
        if min(self.std) <= 0 or self.multiple < 1:
            raise OptionError(f"std {self.std} and multiple {self.multiple} must be above 0")
        if (
            min(self.std) < 1 / _LARGEST_SCALE
            or max(*self.std, *map(abs, self.mean)) > _LARGEST_SCALE
        ):
            raise OptionError(
                f"mean {self.mean} and std {self.std} are no statistics of pixels in 0…1"
            )
        self._check_tiles()
        self._check_patches()

    def _check_patches(self) -> None:
        """That the input is of whole patches, where it must be."""
        if self.letterbox_beyond is None and not self.joins_patches:
            return
        sides = self.height, self.width
        if any(side % self.multiple for side in sides):
            height, width = (round_to_multiple(side, self.multiple) for side in sides)
            use = "letterboxed"
            if self.joins_patches:
                use = "with regions" if self.tile_overlap is None else "that of tiles"
            raise OptionError(
                f"size {self.height}×{self.width} cannot be {use}: a patch would be partly "
                f"image and partly padding; use multiples of {self.multiple}, as {height}x{width}"
            )

    def _check_tiles(self) -> None:
        if self.tile_overlap is None:
            return
        if not 0 <= self.tile_overlap <= _MAX_TILE_OVERLAP:
            raise OptionError(
                f"tiles that overlap by {self.tile_overlap:g} of their side; use a fraction of 0 "
                f"to {_MAX_TILE_OVERLAP}, such as 0.25"
            )
        if self.letterbox_beyond is not None:
            raise OptionError("tiles are cut unscaled, so they cannot be letterboxed")

    def __call__(self, image: ImageArray) -> Preprocessed:
        """The image resized, scaled to 0…1 and normalised; float32, channels first.

        Args:
            image: a decoded image.

        Raises:
            ImageError: the image has another aspect than the mask.
        """
        counting = self.counting(*image.shape[:2])
        place = self.placement(*image.shape[:2])
        if counting is None:
            return self.unscaled(resize(image, *place))
        result = self.unscaled(resize(self.without_masked(image, counting), *place))
        blank_cells(result, counting, CellGrid(*place, self.multiple), PADDING)
        return result

    def counting(self, height: int, width: int) -> Counting | None:
        """Which pixels count of an image of this size; None where all do, for want of a mask.

        Args:
            height: of the decoded image, in pixels.
            width: of the decoded image, in pixels.

        Raises:
            ImageError: the image has another aspect than the mask.
        """
        return None if self.mask is None else self.mask.at(height, width)

    def without_masked(self, image: ImageArray, counting: Counting) -> ImageArray:
        """The image, of the mean colour where it does not count.

        Args:
            image: a decoded image.
            counting: which of its pixels count.
        """
        white = WHITE[image.dtype]
        red, green, blue = (white * mean for mean in self.mean)
        return without_masked(image, counting, (red, green, blue))

    def unscaled(self, image: ImageArray) -> Preprocessed:
        """An image that is no larger than the input, at its top left; the rest is `PADDING`.

        Args:
            image: a decoded image.
        """
        height, width = image.shape[:2]
        result = np.empty((3, self.height, self.width), np.float32)
        if (height, width) != (self.height, self.width):
            result.fill(PADDING)
        target = result[:, :height, :width]
        for channel, levels in enumerate(cv2.split(image)):
            target[channel] = self._normalised(levels, channel)
        return result

    @property
    def joins_patches(self) -> bool:
        """Whether a graph gives distances of patches alone: of tiles, or for zones."""
        return self.tile_overlap is not None or self.zones is not None

    @property
    def map_size(self) -> tuple[int, int]:
        """Rows and columns of what a graph says of one input: of its pixels, or of its patches."""
        return self.patch_grid if self.joins_patches else (self.height, self.width)

    @property
    def patch_grid(self) -> tuple[int, int]:
        """Rows and columns of patches in the input."""
        return self.height // self.multiple, self.width // self.multiple

    def tile_step(self, side: int) -> int:
        """How far tiles are apart along an axis, in pixels: a multiple of a patch.

        Args:
            side: of a tile along that axis, in pixels.

        Example:
            >>> Preprocessing(512, 512, multiple=8, tile_overlap=0.25).tile_step(512)
            384
        """
        overlap = side * (self.tile_overlap or 0.0)
        return side - min(round(overlap / self.multiple) * self.multiple, side - self.multiple)

    def _normalised(self, levels: np.ndarray, channel: int) -> np.ndarray:
        """One channel in 0…1, less its mean, by its standard deviation."""
        if levels.dtype == np.uint8:
            # The same numbers as below, looked up among 256.
            every_level = np.arange(256, dtype=np.uint8)
            return np.asarray(cv2.LUT(levels, self._scaled(every_level, channel)))
        return self._scaled(levels, channel)

    def _scaled(self, levels: np.ndarray, channel: int) -> np.ndarray:
        mean = np.float32(self.mean[channel])
        std = np.float32(self.std[channel])
        white = np.float32(WHITE[levels.dtype])
        return levels.astype(np.float32) / (std * white) - mean / std

    def place_of(self, height: int, width: int) -> tuple[int, int]:
        """Height and width in which a network sees an image: its own where it is cut into tiles.

        Args:
            height: of the decoded image, in pixels.
            width: of the decoded image, in pixels.
        """
        return (height, width) if self.tile_overlap is not None else self.placement(height, width)

    def placement(self, height: int, width: int) -> _Placement:
        """Where an image of this size lies in the input; all of it unless it is letterboxed.

        Args:
            height: of the decoded image, in pixels.
            width: of the decoded image, in pixels.

        Example:
            >>> Preprocessing(64, 64, letterbox_beyond=0.1, multiple=8).placement(100, 200)
            _Placement(height=32, width=64)
        """
        whole = _Placement(self.height, self.width)
        if self.letterbox_beyond is None:
            return whole
        ratio = (width * self.height) / (height * self.width)
        if max(ratio, 1 / ratio) <= 1 + self.letterbox_beyond:
            return whole
        scale = min(self.height / height, self.width / width)
        rows = round_to_multiple(height * scale, self.multiple)
        columns = round_to_multiple(width * scale, self.multiple)
        return _Placement(min(rows, self.height), min(columns, self.width))


def resize(image: ImageOrMap, height: int, width: int) -> ImageOrMap:
    """The image in another size: averaged over areas where an axis shrinks, else interpolated.

    Args:
        image: (height, width) or (height, width, channel), of any size.
        height: of the result, in pixels.
        width: of the result, in pixels.

    Returns:
        The image itself where it has that size already.

    Example:
        >>> resize(np.zeros((10, 20, 3), np.uint8), 5, 40).shape
        (5, 40, 3)
    """
    rows, columns = image.shape[:2]
    if (rows, columns) == (height, width):
        return image
    # OpenCV's area averaging turns into interpolation on both axes as soon as one of them grows;
    # hence two steps.
    smaller = min(columns, width), min(rows, height)
    shrunk = cv2.resize(image, smaller, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR))


def to_uint8(image: ImageArray) -> ImageU8:
    """A decoded image of any depth with 8 bits; the image itself where it has 8 bits already.

    Args:
        image: a decoded image.

    Example:
        >>> int(to_uint8(np.full((8, 8, 3), 65535, np.uint16)).max())
        255
    """
    if image.dtype == np.uint8:
        return image
    # Into the result at once: in between, a large image would take eight bytes a value.
    result = np.empty(image.shape, np.uint8)
    if image.dtype == np.uint16:
        np.floor_divide(image, 257, out=result, casting="unsafe")
    else:
        np.multiply(image, 255, out=result, casting="unsafe")
    return result
