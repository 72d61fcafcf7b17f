"""From a decoded image to what a network reads: the one way, in fit, inspection and exports.

Resize, scale, normalise, with OpenCV and NumPy only, so that a PC beside the line preprocesses
images exactly as the PC that fitted did. Verdicts that change after an export come from two ways of
resizing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt8

from flawmap.errors import OptionError

ImageInput = str | os.PathLike[str] | bytes | np.ndarray
"""An image as users have it.

A path, the bytes of a file, or an array (height, width[, 1 | 3 | 4]) in RGB order.
"""

ImageArray = Shaped[np.ndarray, "_height _width 3"]
"""A decoded image: RGB; uint8 in 0…255, uint16 in 0…65535, or float32 in 0…1."""

ImageU8 = UInt8[np.ndarray, "_height _width 3"]
"""A decoded image with 8 bits: RGB, 0…255."""

ImageOrMap = Shaped[np.ndarray, "_height _width ..."]
"""An image or a map."""

Preprocessed = Float[np.ndarray, "3 _height _width"]
"""What a network reads: RGB, resized, normalised, float32."""

Mask = Bool[np.ndarray, "height width"]
"""True where an image is defective."""

WHITE = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0, np.dtype(np.float32): 1.0}
"""Value of white in a decoded image, by its data type."""

_MIN_INPUT_SIDE = 32
"""Smallest side of a network's input, in pixels; deeper layers of a smaller one have no area."""


@dataclass(frozen=True)
class Preprocessing:
    """How images are made ready for a network.

    The whole image is resized, without a crop and whatever its aspect, since defects are at edges
    too. Each axis that shrinks is averaged over areas, so that no pixel of the image is skipped;
    each axis that grows is interpolated.

    Args:
        height: of the network's input, in pixels, >= 32.
        width: of the network's input, in pixels, >= 32.
        mean: per channel, on RGB in 0…1; what the backbone was trained with.
        std: per channel, likewise.

    Raises:
        OptionError: a side is below 32 pixels.

    Example:
        >>> Preprocessing(height=32, width=48)(np.zeros((100, 40, 3), np.uint8)).shape
        (3, 32, 48)
    """

    height: int = 224
    width: int = 224
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        if min(self.height, self.width) < _MIN_INPUT_SIDE:
            raise OptionError(
                f"size {self.height}×{self.width} is too small for a network; use "
                f"{_MIN_INPUT_SIDE}×{_MIN_INPUT_SIDE} or more"
            )

    def __call__(self, image: ImageArray) -> Preprocessed:
        """The image resized, scaled to 0…1 and normalised; float32, channels first.

        Args:
            image: a decoded image.
        """
        small = resize(image, self.height, self.width).astype(np.float32)
        mean = np.asarray(self.mean, np.float32)
        std = np.asarray(self.std, np.float32)
        scaled = small / (std * np.float32(WHITE[image.dtype])) - mean / std
        return np.ascontiguousarray(scaled.transpose(2, 0, 1))


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
    scaled = image / 257 if image.dtype == np.uint16 else image * 255
    return scaled.astype(np.uint8)
