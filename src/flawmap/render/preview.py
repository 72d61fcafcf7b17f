"""What a fit will heed, drawn over an image before anything is fitted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flawmap.render.mask import dim_uncounted, outline_counted
from flawmap.render.zones import NamedZone, TileBox, draw_tiles, draw_zones
from flawmap.runtime.grey_png import scaled_nearest
from flawmap.runtime.image_types import ImageArray, ImageU8
from flawmap.runtime.mask import Counting
from flawmap.runtime.preprocess import resize, to_uint8

_LONGER_SIDE = 2048
"""Of a preview, in pixels, at most: more is more than a screen has."""


def draw_preview(
    image: ImageArray,
    *,
    counting: Counting | None = None,
    zones: Sequence[NamedZone] = (),
    tiles: Sequence[TileBox] = (),
) -> ImageU8:
    """The image with all that a fit will heed, its longer side up to 2,048 pixels.

    Args:
        image: decoded, of any depth; it is not changed.
        counting: which of its pixels count; what does not is pale and hatched, and a white line
            goes around what does. None where all count.
        zones: named parts of the image, in its own pixels.
        tiles: that it is cut into, in its own pixels; neighbours differ in colour.

    Example:
        >>> counting = np.zeros((60, 90), bool)
        >>> counting[:, :45] = True
        >>> drawn = draw_preview(np.full((60, 90, 3), 200, np.uint8), counting=counting)
        >>> drawn[30, [10, 44]].tolist(), bool((drawn[:, 50:] < 200).all())
        ([[200, 200, 200], [255, 255, 255]], True)
    """
    height, width = image.shape[:2]
    scale = min(_LONGER_SIDE / max(height, width), 1)
    rows, columns = (max(round(side * scale), 1) for side in (height, width))
    drawn = np.array(resize(to_uint8(image), rows, columns), order="C")
    if counting is not None:
        small = resize(counting.astype(np.uint8), rows, columns) > 0
        dim_uncounted(drawn, small)
        outline_counted(drawn, small)
    draw_tiles(drawn, tiles, scale)
    draw_zones(drawn, [_shrunk(zone, rows, columns) for zone in zones])
    return drawn


def _shrunk(zone: NamedZone, rows: int, columns: int) -> NamedZone:
    """The same zone in the size of the preview."""
    return zone._replace(pixels=scaled_nearest(zone.pixels, rows, columns))
