"""Arrays of pixels to decoded images: RGB, of a type whose white is known."""

from __future__ import annotations

import numpy as np

from flawmap.errors import ImageError
from flawmap.runtime.image_types import ImageArray

_WHITE_16 = 65535


def check_array(array: np.ndarray) -> np.ndarray:
    """An array that a user gave, (height, width, 1 | 3 | 4), in the machine's byte order.

    Args:
        array: as it was given.

    Raises:
        ImageError: it has no such shape, or masked pixels.
    """
    if np.ma.is_masked(array):
        raise ImageError("some of its pixels are masked; fill them first")
    array = np.asarray(array)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or not array.size:
        is_turned = array.ndim == 3 and array.shape[0] in (1, 3, 4)
        remedy = "; channels come first here: transpose(1, 2, 0)" if is_turned else ""
        raise ImageError(
            f"give (height, width), or (height, width, 1 | 3 | 4) in RGB order{remedy}"
        )
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def to_rgb(pixels: np.ndarray, white: int | None = None) -> ImageArray:
    """A decoded image out of grey or RGB pixels; what stands behind these channels is dropped.

    Args:
        pixels: (height, width, channel).
        white: the level of white in 16 bits; None for 65535.

    Raises:
        ImageError: the type has no known white, or values lie beyond it.

    Example:
        >>> int(to_rgb(np.full((8, 8, 1), 4095, np.uint16), white=4095).max())
        65535
    """
    if pixels.shape[2] <= 2:
        pixels = np.repeat(pixels[:, :, :1], 3, axis=2)
    return np.ascontiguousarray(_with_known_white(pixels[:, :, :3], white))


def _with_known_white(rgb: np.ndarray, white: int | None) -> np.ndarray:
    if rgb.dtype == bool:
        return rgb.astype(np.uint8) * np.uint8(255)
    if rgb.dtype == np.uint8:
        return rgb
    if rgb.dtype == np.uint16:
        return rgb if white is None else _stretched(rgb, white)
    if np.issubdtype(rgb.dtype, np.floating):
        return _in_unit_range(rgb)
    raise ImageError(f"{rgb.dtype} pixels have no known white; use uint8, uint16, or floats in 0…1")


def _stretched(rgb: np.ndarray, white: int) -> np.ndarray:
    """Levels of 16 bits of which white is another one."""
    brightest = rgb.max()
    if brightest > white:
        raise ImageError(f"holds the value {brightest}, and white is {white} (--white)")
    levels = np.zeros(_WHITE_16 + 1, np.uint16)
    levels[: white + 1] = np.rint(np.arange(white + 1) * (_WHITE_16 / white))
    return np.asarray(levels[rgb])


def _in_unit_range(rgb: np.ndarray) -> np.ndarray:
    lowest, highest = rgb.min(), rgb.max()
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        raise ImageError("holds values that are NaN or infinite; floats must lie in 0…1")
    if lowest < 0 or highest > 1:
        raise ImageError(f"floats must lie in 0…1, these span {lowest:.3g}…{highest:.3g}")
    return rgb.astype(np.float32)
