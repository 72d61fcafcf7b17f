"""From a picture to the numbers a network reads: the one way, used in fit, in inspection and after export.

Decode, turn upright, make RGB, resize, scale, normalise. OpenCV and numpy only, so that a PC beside the line prepares
a picture exactly as the PC that learned did. Verdicts that change after an export come from two ways of resizing.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float, Shaped

from flawmap.errors import ImageError, OptionError

ImageInput = str | os.PathLike[str] | bytes | np.ndarray
"""A picture as users have it: a path, the bytes of a file, or an array (height, width[, 1 | 3 | 4]) in RGB order."""

ImageArray = Shaped[np.ndarray, "_height _width 3"]
"""A decoded picture: RGB; uint8 in 0…255, uint16 in 0…65535, or float32 in 0…1."""

Preprocessed = Float[np.ndarray, "3 _height _width"]
"""What a network reads: RGB, resized, normalised, float32."""

Mask = Bool[np.ndarray, "height width"]
"""True where a picture is defective."""

ImageOrMap = Shaped[np.ndarray, "_height _width ..."]
"""A picture or a map."""

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""File names that count as pictures in a folder."""

MIN_IMAGE_SIDE = 8
"""Pixels a side; below it there is no texture to judge, only a colour."""

_WHITE = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0, np.dtype(np.float32): 1.0}
# IMREAD_COLOR turns by the EXIF orientation and makes three channels; ANYDEPTH keeps 16 bits.
_AS_IS = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH


def decode(image_input: ImageInput) -> ImageArray:
    """Decode a picture: JPEG, PNG, BMP, TIFF or WebP; grey, RGB, RGBA or CMYK; 8 or 16 bits; upright by its EXIF tag.

    Alpha is dropped. 16-bit pictures keep their depth. Arrays may be bool, uint8, uint16, or floats in 0…1.

    Raises:
        ImageError: the picture is missing, empty, damaged, not a picture, or smaller than 8 pixels a side.
    """
    name = name_of(image_input)
    image = _from_array(image_input, name) if isinstance(image_input, np.ndarray) else _from_bytes(_bytes(image_input, name), name)
    if min(image.shape[:2]) < MIN_IMAGE_SIDE:
        height, width = image.shape[:2]
        raise ImageError(f"{name}: {width}×{height} pixels are too few; use {MIN_IMAGE_SIDE}×{MIN_IMAGE_SIDE} or more")
    return image


def decode_mask(path: Path) -> Mask:
    """Decode a ground-truth mask: True where the picture of the mask is brighter than half.

    Raises:
        ImageError: as `read` does.
    """
    image = decode(path)
    return np.asarray(image.max(axis=2) > _WHITE[image.dtype] / 2)


def name_of(image_input: ImageInput) -> str:
    """Name a picture in a message: its path, or what kind of object it is."""
    if isinstance(image_input, bytes):
        return f"<{len(image_input)} bytes>"
    if isinstance(image_input, np.ndarray):
        return f"<array {image_input.shape} {image_input.dtype}>"
    return os.fspath(image_input)


@dataclass(frozen=True)
class Preprocessing:
    """How pictures are made ready for a network.

    Args:
        height: of the network's input, in pixels.
        width: of the network's input, in pixels.
        mean: per channel, on RGB in 0…1; what the backbone was trained with.
        std: per channel, likewise.

    The whole picture is resized, without a crop and whatever its aspect: defects sit at edges too. Each axis that
    shrinks is averaged over areas, so that no pixel of the picture goes unseen; each axis that grows is interpolated.

    >>> Preparation(height=32, width=48)(np.zeros((100, 40, 3), np.uint8)).shape
    (3, 32, 48)
    """

    height: int = 224
    width: int = 224
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        if min(self.height, self.width) < 32:
            raise OptionError(f"size {self.height}×{self.width} is too small for a network; use 32×32 or more")

    def __call__(self, image: ImageArray) -> Preprocessed:
        """Resize, scale to 0…1, normalise; float32, channels first."""
        small = resize(image, self.height, self.width).astype(np.float32)
        std = np.asarray(self.std, np.float32)
        scaled = small / (std * np.float32(_WHITE[image.dtype])) - np.asarray(self.mean, np.float32) / std
        return np.ascontiguousarray(scaled.transpose(2, 0, 1))

    def to_dict(self) -> dict[str, Any]:
        """Say it in JSON; `Preparation.from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocessing:
        """Read what `to_json` said."""
        return cls(**values | {"mean": tuple(values["mean"]), "std": tuple(values["std"])})


def resize(image: ImageOrMap, height: int, width: int) -> ImageOrMap:
    """Resize each axis by its own rule: area averages where it shrinks, linear interpolation where it grows."""
    rows, columns = image.shape[:2]
    if (rows, columns) == (height, width):
        return image
    # OpenCV's area averaging turns into interpolation on both axes as soon as one of them grows; hence two steps.
    shrunk = cv2.resize(image, (min(columns, width), min(rows, height)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR))


def _bytes(image_input: str | os.PathLike[str] | bytes, name: str) -> bytes:
    # Through Python rather than cv2.imread, which cannot open every path on Windows and says nothing when it fails.
    if isinstance(image_input, bytes):
        data = image_input
    else:
        try:
            data = Path(image_input).read_bytes()
        except OSError as error:
            raise ImageError(f"{name}: cannot be read ({error.strerror})") from error
    if not data:
        raise ImageError(f"{name}: the file is empty")
    return data


def _from_bytes(data: bytes, name: str) -> ImageArray:
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), _AS_IS)
    except cv2.error as error:
        raise ImageError(f"{name}: cannot be decoded ({error.err})") from error
    if decoded is None:
        raise ImageError(f"{name}: damaged, cut off, or not a picture; save it again as PNG, JPEG, BMP, TIFF or WebP")
    if decoded.dtype not in _WHITE:
        raise ImageError(f"{name}: has {decoded.dtype} pixels; save it with 8 or 16 bits")
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB))


def _from_array(array: np.ndarray, name: str) -> ImageArray:
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or not array.size:
        raise ImageError(f"{name}: give (height, width), or (height, width, 1 | 3 | 4) in RGB order")
    rgb = np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array[:, :, :3]
    return np.ascontiguousarray(_known_depth(rgb, name))


def _known_depth(rgb: np.ndarray, name: str) -> np.ndarray:
    if rgb.dtype == bool:
        return rgb.astype(np.uint8) * np.uint8(255)
    if rgb.dtype in (np.uint8, np.uint16):
        return rgb
    if np.issubdtype(rgb.dtype, np.floating):
        # Written so that a NaN fails it too.
        if not (rgb.min() >= 0 and rgb.max() <= 1):
            raise ImageError(f"{name}: floats must lie in 0…1, these span {rgb.min():.3g}…{rgb.max():.3g}")
        return rgb.astype(np.float32)
    raise ImageError(f"{name}: {rgb.dtype} pixels have no known white; give uint8, uint16, or floats in 0…1")
