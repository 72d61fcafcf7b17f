"""Where the part lies in an image of it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from flawmap.runtime.image_types import ImageArray, Mask
from flawmap.runtime.preprocess import resize, to_uint8
from flawmap.synthetic.blend import FloatImage

_WORKING_SIDE = 256
"""The longer side that an image is reduced to before its background is looked for, in pixels."""

_MIN_DIFFERENCE_LEVELS = 12
"""The part differs from a plain background by more grey levels than that."""

_MIN_PART_FRACTION = 0.05
"""What takes up less of an image is a mark on a part that fills it."""

_TRIES = 64
"""Positions that are drawn before the roomiest of them has to do."""


def part_foreground(image: ImageArray) -> Mask:
    """Where the part is: all that is enclosed by what differs from a plain border.

    Everywhere, if the border of the image is not plain, or if next to nothing differs from it: the
    part then fills the image.

    Args:
        image: a decoded image.

    Example:
        >>> image = np.full((64, 96, 3), 20, np.uint8)
        >>> image[16:48, 32:64] = 180
        >>> part_foreground(image).sum() / (32 * 32)
        np.float64(1.0)
    """
    height, width = image.shape[:2]
    everywhere = np.ones((height, width), bool)
    reduction = min(_WORKING_SIDE / max(height, width), 1)
    rows, columns = (max(round(side * reduction), 1) for side in (height, width))
    small = resize(to_uint8(image), rows, columns).astype(np.float32)
    margin = max(min(rows, columns) // 40, 1)
    border = np.ones((rows, columns), bool)
    border[margin:-margin, margin:-margin] = False
    background = np.median(small[border], axis=0)
    difference = np.abs(small - background).max(axis=2)
    if np.percentile(difference[border], 90) > _MIN_DIFFERENCE_LEVELS:
        return everywhere
    part = _filled(difference > _MIN_DIFFERENCE_LEVELS)
    if part.mean() < _MIN_PART_FRACTION:
        return everywhere
    return np.asarray(resize(part.astype(np.uint8), height, width) > 0)


def room_around(foreground: Mask) -> FloatImage:
    """The distance of each pixel to the nearest that is no foreground or beyond the frame.

    Args:
        foreground: (height, width), True where the part is.

    Returns:
        (height, width), in pixels; 0 outside of the foreground.

    Example:
        >>> room_around(np.ones((3, 5), bool))[1].tolist()
        [1.0, 2.0, 2.0, 2.0, 1.0]
    """
    padded = np.pad(foreground.astype(np.uint8), 1)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance[1:-1, 1:-1], np.float32)


def roomy_position(rng: Generator, foreground: Mask, radius: float) -> tuple[int, int]:
    """A pixel of the foreground with so much of it around, (x, y); else the roomiest of some.

    The same state of the generator gives the same pixel for any radius that it has room for.

    Args:
        rng: all that the position depends on besides the foreground.
        foreground: (height, width), True where the part is; at least one pixel.
        radius: in pixels.

    Example:
        >>> roomy_position(np.random.default_rng(0), np.ones((9, 9), bool), 4.5)
        (4, 4)
    """
    drawn = rng.choice(np.flatnonzero(foreground), _TRIES)
    rooms = room_around(foreground).reshape(-1)[drawn]
    enough = rooms >= radius
    index = int(np.argmax(enough)) if enough.any() else int(np.argmax(rooms))
    y, x = divmod(int(drawn[index]), foreground.shape[1])
    return x, y


def _filled(part: Mask) -> Mask:
    """The mask without crumbs, gaps, and holes."""
    kernel = np.ones((3, 3), np.uint8)
    closed = cv2.morphologyEx(part.astype(np.uint8), cv2.MORPH_CLOSE, kernel)
    clean = cv2.morphologyEx(closed, cv2.MORPH_OPEN, kernel)
    outlines, _ = cv2.findContours(clean, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(np.zeros_like(clean), outlines, -1, (1,), cv2.FILLED) > 0)
