"""From an image to the numbers a network reads.

The one way, used in fit, in inspection and after export.

Decode, turn upright, make RGB, resize, scale, normalise. OpenCV and numpy only, so that a PC beside
the line prepares an image exactly as the PC that learned did. Verdicts that change after an export
come from two ways of resizing.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

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

Preprocessed = Float[np.ndarray, "3 _height _width"]
"""What a network reads: RGB, resized, normalised, float32."""

Mask = Bool[np.ndarray, "height width"]
"""True where an image is defective."""

ImageOrMap = Shaped[np.ndarray, "_height _width ..."]
"""An image or a map."""

_WHITE = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0, np.dtype(np.float32): 1.0}


@dataclass(frozen=True)
class Preprocessing:
    """How images are made ready for a network.

    Args:
        height: of the network's input, in pixels.
        width: of the network's input, in pixels.
        mean: per channel, on RGB in 0…1; what the backbone was trained with.
        std: per channel, likewise.

    The whole image is resized, without a crop and whatever its aspect: defects sit at edges too.
    Each axis that shrinks is averaged over areas, so that no pixel of the image goes unseen; each
    axis that grows is interpolated.

    >>> Preprocessing(height=32, width=48)(np.zeros((100, 40, 3), np.uint8)).shape
    (3, 32, 48)
    """

    height: int = 224
    width: int = 224
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 32:
            raise OptionError(
                f"size {self.height}×{self.width} is too small for a network; use 32×32 or more"
            )

    def __call__(self, image: ImageArray) -> Preprocessed:
        """Resize, scale to 0…1, normalise; float32, channels first."""
        small = resize(image, self.height, self.width).astype(np.float32)
        std = np.asarray(self.std, np.float32)
        scaled = (
            small / (std * np.float32(_WHITE[image.dtype]))
            - np.asarray(self.mean, np.float32) / std
        )
        return np.ascontiguousarray(scaled.transpose(2, 0, 1))

    def to_dict(self) -> dict[str, Any]:
        """Say it in JSON; `Preparation.from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocessing:
        """Read what `to_json` said."""
        return cls(**values | {"mean": tuple(values["mean"]), "std": tuple(values["std"])})


def resize(image: ImageOrMap, height: int, width: int) -> ImageOrMap:
    """Resize each axis by its own rule.

    Area averages where it shrinks, linear interpolation where it grows.
    """
    rows, columns = image.shape[:2]
    if (rows, columns) == (height, width):
        return image
    # OpenCV's area averaging turns into interpolation on both axes as soon as one of them grows;
    # hence two steps.
    shrunk = cv2.resize(
        image, (min(columns, width), min(rows, height)), interpolation=cv2.INTER_AREA
    )
    return np.asarray(cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR))


ImageU8 = UInt8[np.ndarray, "_height _width 3"]
"""RGB, 0…255."""


def to_uint8(pixels: ImageArray) -> ImageU8:
    """Bring a decoded image of any depth to 0…255."""
    if pixels.dtype == np.uint8:
        return pixels
    return (pixels / 257 if pixels.dtype == np.uint16 else pixels * 255).astype(np.uint8)
