"""Large images cut into tiles for a network, and what it makes of them joined again.

Tiles are cut out of the image unscaled, so small defects keep their pixels. They begin at multiples
of the patch's side and overlap; where they do, a patch's distance is the weighted mean of those in
its tiles. Near a tile's border the network sees less of the surroundings, so there the other tile
counts alone, and both count in equal parts in the middle. So no border shows in the joined map.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float

from flawmap.runtime.image_types import ImageArray, ImageOrMap, Preprocessed
from flawmap.runtime.input_sides import round_up
from flawmap.runtime.mask import CellGrid, blank_cells
from flawmap.runtime.preprocess import PADDING, Preprocessing
from flawmap.runtime.zone_layout import zone_layout

LEAST_WEIGHT = 1e-3
"""Of a patch at a tile's border; above 0, since at the image's there is no other tile."""

PatchDistances = Float[np.ndarray, "_row _column"]
"""The distance of each patch, >= 0."""


class TileLayout(NamedTuple):
    """Where the tiles of an image lie, in its own pixels.

    Args:
        origins: the first row and column of each tile, row by row; a tile in which nothing counts
            is not among them.
        image_size: height and width of the image.
        height: of what is cut: the image's, up to the next multiple of a patch; or what it is
            resized to.
        width: likewise.
    """

    origins: tuple[tuple[int, int], ...]
    image_size: tuple[int, int]
    height: int
    width: int


class Tiles:
    """An image as tiles, each made ready for the network only when it is its turn.

    An image that is resized as a whole is one tile, which is ready from the start.

    Args:
        image: a decoded image.
        preprocessing: of the network's input, whose size is the tile's.

    Attributes:
        layout: where the tiles lie.

    Example:
        >>> preprocessing = Preprocessing(64, 64, multiple=8, tile_overlap=0.25)
        >>> tiles = Tiles(np.zeros((100, 64, 3), np.uint8), preprocessing)
        >>> tiles.layout.origins, [tile.shape for tile in tiles]
        (((0, 0), (40, 0)), [(3, 64, 64), (3, 64, 64)])
    """

    def __init__(self, image: ImageArray, preprocessing: Preprocessing) -> None:
        height, width = image.shape[:2]
        self.layout = tile_layout(height, width, preprocessing)
        if preprocessing.zones is not None:
            zone_layout(preprocessing, height, width)  # An image without one is refused at once.
        self._image = image
        self._preprocessing = preprocessing
        self._whole = preprocessing(image) if preprocessing.tile_overlap is None else None

    def __len__(self) -> int:
        return len(self.layout.origins)

    def __iter__(self) -> Iterator[Preprocessed]:
        if self._whole is not None:
            yield self._whole
            return
        preprocessing = self._preprocessing
        counting = preprocessing.counting(*self._image.shape[:2])
        for origin in self.layout.origins:
            tile = self._cut(self._image, origin)
            if counting is None:
                yield preprocessing.unscaled(tile)
                continue
            counts = self._cut(counting.view(np.uint8), origin).view(bool)
            prepared = preprocessing.unscaled(preprocessing.without_masked(tile, counts))
            grid = CellGrid(counts.shape[0], counts.shape[1], preprocessing.multiple)
            blank_cells(prepared, counts, grid, PADDING)
            yield prepared

    def _cut(self, pixels: ImageOrMap, origin: tuple[int, int]) -> ImageOrMap:
        """The pixels of a tile; the last patches repeat the image's edge where it ends in them."""
        row, column = origin
        height = min(self._preprocessing.height, self.layout.height - row)
        width = min(self._preprocessing.width, self.layout.width - column)
        cut = pixels[row : row + height, column : column + width]
        missing = height - cut.shape[0], width - cut.shape[1]
        if any(missing):
            cut = cv2.copyMakeBorder(cut, 0, missing[0], 0, missing[1], cv2.BORDER_REPLICATE)
        return np.asarray(cut)


NetworkInput = Preprocessed | Tiles
"""What of an image a network reads: all of it, resized, or tiles."""


def prepare(image: ImageArray, preprocessing: Preprocessing) -> NetworkInput:
    """What of an image goes to the network: all of it, resized, or tiles.

    Args:
        image: a decoded image.
        preprocessing: of the network's input.

    Raises:
        ImageError: the image has another aspect than the mask or the zones.
    """
    if not preprocessing.joins_patches:
        return preprocessing(image)
    return Tiles(image, preprocessing)


def tile_layout(height: int, width: int, preprocessing: Preprocessing) -> TileLayout:
    """Where the tiles of an image lie; one for all of it where it is resized.

    Args:
        height: of the image, in pixels.
        width: of the image, in pixels.
        preprocessing: of the network's input, whose size is the tile's.

    Example:
        >>> preprocessing = Preprocessing(512, 512, multiple=8, tile_overlap=0.25)
        >>> tile_layout(1000, 300, preprocessing).origins
        ((0, 0), (384, 0), (488, 0))
    """
    image_size = height, width
    if preprocessing.tile_overlap is None:
        return TileLayout(((0, 0),), image_size, *preprocessing.placement(height, width))
    height, width = (round_up(side, preprocessing.multiple) for side in image_size)
    rows = _origins(height, preprocessing.height, preprocessing.tile_step(preprocessing.height))
    columns = _origins(width, preprocessing.width, preprocessing.tile_step(preprocessing.width))
    counting = preprocessing.counting(*image_size)
    origins = tuple(
        (row, column)
        for row, column in product(rows, columns)
        if counting is None
        or counting[row : row + preprocessing.height, column : column + preprocessing.width].any()
    )
    return TileLayout(origins, image_size, height, width)


def _origins(length: int, tile: int, step: int) -> tuple[int, ...]:
    """A step apart from the start on; the last tile ends where the image does."""
    last = max(0, length - tile)
    return (*range(0, last, step), last)


def join_tiles(
    grids: Iterable[PatchDistances], layout: TileLayout, preprocessing: Preprocessing
) -> PatchDistances:
    """The distances of all patches of an image.

    Args:
        grids: of each tile of the layout, in its order.
        layout: where the tiles lie.
        preprocessing: of the network's input.

    Returns:
        A distance for each patch of the image, (row, column); 0 where nothing counts.

    Example:
        >>> preprocessing = Preprocessing(64, 64, multiple=8, tile_overlap=0.25)
        >>> layout = tile_layout(100, 64, preprocessing)
        >>> join_tiles([np.ones((8, 8))] * 2, layout, preprocessing).shape
        (13, 8)
    """
    multiple = preprocessing.multiple
    shape = layout.height // multiple, layout.width // multiple
    total, weight = np.zeros(shape, np.float64), np.zeros(shape, np.float64)
    weights = np.outer(
        _weights(preprocessing.height, preprocessing),
        _weights(preprocessing.width, preprocessing),
    )
    for (row, column), grid in zip(layout.origins, grids, strict=True):
        into = np.s_[row // multiple :, column // multiple :]
        rows, columns = (min(sides) for sides in zip(grid.shape, total[into].shape, strict=True))
        part = np.s_[:rows, :columns]
        total[into][part] += weights[part] * grid[part]
        weight[into][part] += weights[part]
    # Nothing counts where there is no tile.
    return np.asarray(total / np.maximum(weight, LEAST_WEIGHT**2), np.float32)


def _weights(side: int, preprocessing: Preprocessing) -> np.ndarray:
    """Of each patch of a tile along one axis: 1, and less where the next tile overlaps."""
    patches = side // preprocessing.multiple
    shared = (side - preprocessing.tile_step(side)) // preprocessing.multiple
    if not shared:
        return np.ones(patches)
    to_border = np.minimum(np.arange(patches), np.arange(patches)[::-1]) + 0.5
    return np.clip(2 * to_border / shared - 0.5, LEAST_WEIGHT, 1)
