"""Polygons to the pixels inside of them, so that neighbours with a common edge share no pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flawmap.runtime.mask import Counting

Point = tuple[float, float]
"""x and y, in pixels from the image's top left corner."""


def fill_polygon(points: Sequence[Point], height: int, width: int) -> Counting:
    """The pixels whose middle is inside of a polygon; where it crosses itself, by even and odd.

    Args:
        points: its corners, three or more; what lies beyond the image is cut off.
        height: of the image, in pixels.
        width: of the image, in pixels.

    Example:
        >>> fill_polygon([(0, 0), (2, 0), (2, 1), (0, 1)], 2, 3).tolist()
        [[True, True, False], [False, False, False]]
    """
    crossings = np.zeros((height, width + 1), np.uint8)
    for start, end in zip(points, [*points[1:], points[0]], strict=True):
        # From the upper end on, so that an edge of two polygons is the same numbers in both.
        (x, y), (lower_x, lower_y) = sorted([start, end], key=lambda point: point[1])
        first, last = (int(np.clip(np.ceil(side - 0.5), 0, height)) for side in (y, lower_y))
        rows = np.arange(first, last)
        at = x + (rows + 0.5 - y) * ((lower_x - x) / max(lower_y - y, 1e-9))
        columns = np.clip(np.ceil(at - 0.5), 0, width).astype(np.intp)
        crossings[rows, columns] ^= 1
    return np.asarray(np.bitwise_xor.accumulate(crossings, axis=1)[:, :width], bool)


def circle_points(middle: Point, edge: Point, count: int = 180) -> list[Point]:
    """Corners of a polygon that is nearly a circle.

    Args:
        middle: of the circle.
        edge: a point on it.
        count: of corners.

    Example:
        >>> len(circle_points((5, 5), (8, 9)))
        180
    """
    radius = float(np.hypot(edge[0] - middle[0], edge[1] - middle[1]))
    angles = np.arange(count) * (2 * np.pi / count)
    xs, ys = middle[0] + radius * np.cos(angles), middle[1] + radius * np.sin(angles)
    return list(zip(xs.tolist(), ys.tolist(), strict=True))
