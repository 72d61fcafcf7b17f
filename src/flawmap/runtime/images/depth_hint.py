"""A word on images whose values use fewer bits than they are stored with."""

from __future__ import annotations

import numpy as np

from flawmap.runtime.image_types import ImageArray, ImageInput
from flawmap.runtime.images.image_input import name_of
from flawmap.runtime.preprocess import Preprocessing

_CAMERA_BITS = (8, 10, 12, 14)


def depth_hint(image_input: ImageInput, image: ImageArray, preprocessing: Preprocessing) -> str:
    """What to do about a 16-bit image of 8, 10, 12 or 14 bits; empty for any other.

    Args:
        image_input: the image as it was given.
        image: decoded.
        preprocessing: that decoded it; where it says which level is white, there is nothing to do.

    Example:
        >>> image = np.full((8, 8, 3), 4000, np.uint16)
        >>> depth_hint("a.tif", image, Preprocessing())
        'a.tif: brightest value 4,000 of 65,535: 12 bits in 16? Then fit with --white 4095'
    """
    if image.dtype != np.uint16 or preprocessing.white is not None:
        return ""
    brightest = int(image.max())
    bits = next((bits for bits in _CAMERA_BITS if brightest < 2**bits), None)
    if bits is None or not brightest or _is_shifted_up(image):
        return ""
    return (
        f"{name_of(image_input)}: brightest value {brightest:,} of 65,535: {bits} bits in 16? "
        f"Then fit with --white {2**bits - 1}"
    )


def _is_shifted_up(image: ImageArray) -> bool:
    """Whether the lowest bits of all values are 0, as of 12 bits that a camera put on top of 16.

    Of an image of two values that cannot be told.
    """
    return not np.bitwise_or.reduce(image, axis=None) & 0b11 and len(np.unique(image)) > 2
