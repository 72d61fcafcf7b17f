"""Zones in an image: of which each pixel is, and which patches each zone is scored by."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from flawmap.errors import ImageError
from flawmap.runtime.grey_png import GreyPixels
from flawmap.runtime.mask import CellGrid, pixels_in_cells
from flawmap.runtime.preprocess import Preprocessing

_STRIP_ROWS = 256
"""Rows of a map that are divided at once, so that a large one takes no second one's memory."""

_PerPixel = Float[np.ndarray, "_height _width"]
"""A value for each pixel of an image."""

_CellsOfZones = Bool[np.ndarray, "_zone _row _column"]
"""True for each patch of each zone."""

_PerZone = Float[np.ndarray, " zone"]
"""A value for each zone."""


class ZoneLayout(NamedTuple):
    """The zones in an image of a size.

    Args:
        labels: the number of each pixel's zone, from 1, (height, width); 0 for none.
        cells: for each zone which patches it is scored by, (zone, row, column), one or more.
    """

    labels: GreyPixels
    cells: _CellsOfZones

    def peaks(self, pixels: _PerPixel) -> _PerZone:
        """The largest value of a map in each zone.

        Args:
            pixels: the map, in the image's own size.
        """
        numbers = range(1, len(self.cells) + 1)
        return np.array([pixels[self.labels == number].max() for number in numbers])

    def divide(self, pixels: _PerPixel, limits: _PerZone) -> None:
        """Divide a map by the limit of each pixel's zone, in place; it is 0 where there is none.

        Args:
            pixels: the map, in the image's own size.
            limits: of each zone, above 0.
        """
        factors = np.array([0, *(1 / np.asarray(limits))], np.float32)
        for top in range(0, len(pixels), _STRIP_ROWS):
            strip = slice(top, top + _STRIP_ROWS)
            pixels[strip] *= factors[self.labels[strip]]


# Two, as of masks: a series may have images of two cameras.
@lru_cache(maxsize=2)
def zone_layout(preprocessing: Preprocessing, height: int, width: int) -> ZoneLayout:
    """The zones in an image of a size.

    A patch is of the zone that has most of its pixels that count. A zone that is so small that it
    has the most of no patch is scored by all patches that it has a pixel of.

    Args:
        preprocessing: of the network's input, with zones.
        height: of the image, in pixels.
        width: of the image, in pixels.

    Raises:
        ImageError: the image has another aspect than the zones or the mask, or one of the zones has
            no pixel in it.

    Example:
        >>> from flawmap.runtime.zones import Zones
        >>> zones = Zones.of(np.array([[1, 2]], np.uint8), ("left", "right"))
        >>> layout = zone_layout(Preprocessing(32, 64, multiple=16, zones=zones), 100, 200)
        >>> layout.cells[0].tolist()
        [[True, True, False, False], [True, True, False, False]]
    """
    zones = preprocessing.zones
    assert zones is not None, "asked only where there are zones"
    labels = zones.at(height, width)
    counting = preprocessing.counting(height, width)
    if counting is not None:
        labels = labels * counting
    grid = CellGrid(*preprocessing.place_of(height, width), preprocessing.multiple)
    counts = []
    for number, name in enumerate(zones.names, 1):
        counts.append(pixels_in_cells(labels == number, grid))
        if not counts[-1].any():
            raise ImageError(
                f"of {width}×{height} pixels none that counts is in the region {name!r}: it is too "
                "small, or the mask leaves it out"
            )
    of_zone = np.stack(counts)
    has_most = of_zone.argmax(axis=0)
    cells = (of_zone > 0) & (has_most == np.arange(len(counts))[:, None, None])
    for index in np.flatnonzero(~cells.any(axis=(1, 2))):
        cells[index] = of_zone[index] > 0
    return ZoneLayout(labels, cells)
