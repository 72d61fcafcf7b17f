"""What does not count in an image, dimmed and hatched."""

from __future__ import annotations

import cv2
import numpy as np

from flawmap.runtime.image_types import ImageU8
from flawmap.runtime.mask import Counting

_LINES = 30
"""Lines of the hatching along the shorter side of an image, about."""

_LEVELS = np.arange(256)
_DIMMED = (0.35 * _LEVELS + 40).astype(np.uint8)
"""What does not count, by what it was: darker and paler, so that no dark part looks like it."""

_HATCHED = _DIMMED + np.uint8(40)
"""The same on the lines of the hatching."""

_WHITE = (255, 255, 255)


def dim_uncounted(image: ImageU8, counting: Counting, first_row: int = 0, side: int = 0) -> None:
    """Dim and hatch what does not count, in place.

    Args:
        image: RGB, (height, width, 3), or some rows of it, contiguous.
        counting: which of these pixels count.
        first_row: the number of the first of the rows in the image, so that lines go on.
        side: the shorter side of the image, in pixels; 0 for that of `image`.

    Example:
        >>> image = np.full((90, 90, 3), 200, np.uint8)
        >>> dim_uncounted(image, np.eye(90, dtype=bool))
        >>> sorted(set(image.ravel().tolist()))
        [110, 150, 200]
    """
    if counting.all():
        return
    period = max((side or min(image.shape[:2])) // _LINES, 4)
    rows, columns = np.ogrid[first_row : first_row + image.shape[0], : image.shape[1]]
    is_line = np.asarray((rows + columns) % period < max(period // 4, 1))
    lines = is_line & ~counting
    # Levels are looked up for all pixels, which is faster than for scattered ones.
    hatched = cv2.LUT(image, _HATCHED)
    cv2.copyTo(cv2.LUT(image, _DIMMED), (~counting).view(np.uint8), image)
    cv2.copyTo(hatched, lines.view(np.uint8), image)


def outline_counted(image: ImageU8, counting: Counting) -> None:
    """Draw a white line around what counts, in place.

    Args:
        image: RGB, (height, width, 3).
        counting: which of its pixels count.

    Example:
        >>> image = np.zeros((90, 90, 3), np.uint8)
        >>> counting = np.zeros((90, 90), bool)
        >>> counting[30:60, 30:60] = True
        >>> outline_counted(image, counting)
        >>> image[45, [10, 30, 45], 0].tolist()
        [0, 255, 0]
    """
    thickness = max(1, min(image.shape[:2]) // 250)
    edges = counting.astype(np.uint8)
    outlines, _ = cv2.findContours(edges, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(image, outlines, -1, _WHITE, thickness)
