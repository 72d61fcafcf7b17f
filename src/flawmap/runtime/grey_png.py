"""Grey PNGs that a saved file holds in base64, and their pixels in the size of an image."""

from __future__ import annotations

import base64
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8

from flawmap.errors import ImageError, OptionError
from flawmap.runtime.images.image_headers import read_png

GreyPixels = UInt8[np.ndarray, "_height _width"]
"""A grey image of 8 bits."""

_MAX_PIXELS = 2**26
"""Most pixels of one, 67 million, as 8,192 × 8,192; some bytes can claim any number."""

_ASPECT_TOLERANCE = 0.01
"""How far an image's aspect may be off, as a fraction; where a pixel of the shortest side is more,
by that, since sides are whole pixels."""

_GREY = 0
"""The colour type of a grey PNG."""

_DEPTH_AND_COLOUR = slice(24, 26)
"""Where a PNG has its bits and its colour type: in the first block, which has a fixed place."""


class PixelSize(NamedTuple):
    """Height and width, in pixels, 1 or more.

    Args:
        height: in pixels.
        width: in pixels.
    """

    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.width}×{self.height}"


def encode_grey(pixels: GreyPixels, *, bilevel: bool = False) -> str:
    """A grey PNG in base64.

    Args:
        pixels: of 8 bits.
        bilevel: whether they are 0 and 255 alone, which takes one bit each.

    Example:
        >>> decode_grey(encode_grey(np.eye(2, dtype=np.uint8)), "the map").tolist()
        [[1, 0], [0, 1]]
    """
    settings = [cv2.IMWRITE_PNG_BILEVEL, 1] if bilevel else []
    return base64.b64encode(cv2.imencode(".png", pixels, settings)[1].tobytes()).decode()


def decode_grey(png: str, what: str) -> GreyPixels:
    """The pixels of a grey PNG of 1 or 8 bits.

    Args:
        png: in base64.
        what: it is, for messages: `the mask`.

    Raises:
        OptionError: it is no such PNG, or has too many pixels.
    """
    try:
        data = base64.b64decode(png, validate=True)
        header = read_png(data)
    except (ValueError, ImageError) as error:
        raise OptionError(f"{what} is no PNG in base64 ({error})") from error
    if data[_DEPTH_AND_COLOUR] not in (bytes([1, _GREY]), bytes([8, _GREY])):
        raise OptionError(f"{what} is no grey PNG of 1 or 8 bits")
    check_size(header.height, header.width, what)
    try:
        grey = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    except cv2.error:
        grey = None
    if grey is None or grey.shape != (header.height, header.width):
        raise OptionError(f"{what} is a damaged PNG")
    return np.asarray(grey)


def check_size(height: int, width: int, what: str) -> None:
    """Nothing, where so many pixels can be.

    Args:
        height: in pixels.
        width: in pixels.
        what: has that size, for messages: `the mask`.

    Raises:
        OptionError: they are too many, or none.
    """
    if height * width > _MAX_PIXELS:
        raise OptionError(
            f"{what} has {width}×{height} pixels, and at most {_MAX_PIXELS / 1e6:.0f} million "
            "can be; save it smaller, in the same aspect, and it is scaled"
        )
    if min(height, width) < 1:
        raise OptionError(f"{what} has no pixels")


def has_aspect(own: PixelSize, height: int, width: int) -> bool:
    """Whether an image has an aspect, within 1 % or a pixel of the shortest side.

    Args:
        own: the size whose aspect it is.
        height: of the image, in pixels.
        width: of the image, in pixels.

    Example:
        >>> has_aspect(PixelSize(40, 60), 80, 120), has_aspect(PixelSize(40, 60), 80, 90)
        (True, False)
    """
    ratio = (width * own.height) / (height * own.width)
    tolerance = max(_ASPECT_TOLERANCE, 1 / min(height, width, *own))
    return bool(max(ratio, 1 / ratio) <= 1 + tolerance)


def scaled_nearest(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixels in the size of an image, each that at the same place.

    Args:
        pixels: (height, width) in a size of their own.
        height: of the image, in pixels.
        width: of the image, in pixels.

    Example:
        >>> scaled_nearest(np.array([[1, 2]]), 2, 4).tolist()
        [[1, 1, 2, 2], [1, 1, 2, 2]]
    """
    own_height, own_width = pixels.shape
    rows, columns = _nearest(own_height, height), _nearest(own_width, width)
    scaled: np.ndarray = pixels[rows][:, columns]
    return scaled


def _nearest(old: int, new: int) -> np.ndarray:
    """For each of the new pixels the old one that its middle lies in."""
    middles: np.ndarray = (2 * np.arange(new) + 1) * old // (2 * new)
    return middles
