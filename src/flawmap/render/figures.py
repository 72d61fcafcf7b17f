"""Many images on one page: what a data set looks like, and where each method sees the defects.

Figures 5 and 6 of Li et al. 2025, and the contact sheet of the demo. Arrays in, one RGB image out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from flawmap.errors import OptionError
from flawmap.render.grid import ColumnGroup, ImageRow, image_grid
from flawmap.render.heatmap import draw_mask_outline
from flawmap.render.scales import CalibratedScale, DatasetScale
from flawmap.runtime.image_types import ImageInput, ImageU8, Mask
from flawmap.runtime.images.decode import decode
from flawmap.runtime.preprocess import resize, to_uint8


@dataclass(frozen=True, eq=False)
class LocalisationRow:
    """An image and what each method sees in it.

    Args:
        product: what the image shows.
        defect_type: `good` or the type of its defect.
        image: decoded, RGB or grey, of any depth.
        views: one for each method.
        mask: True where the part is defective, in the image's size; None where it is not known.
    """

    product: str
    defect_type: str
    image: ImageInput
    views: Sequence[DatasetScale | CalibratedScale]
    mask: Mask | None = None


def localisation_figure(
    rows: Sequence[LocalisationRow], methods: Sequence[str], title: str = "", cell: int = 224
) -> ImageU8:
    """A page with a row for each image: its true defects outlined, and what each method sees in it.

    Args:
        rows: from top to bottom.
        methods: the names over their views, from left to right.
        title: over the page.
        cell: the longer side of an image on the page, in pixels.

    Raises:
        OptionError: no rows, or one that has not as many views as there are methods.
        ImageError: an array that is no image.

    Warns:
        UserWarning: no installed font has some of the characters.
    """
    if not rows:
        raise OptionError("no images to show; give one row or more")
    for row in rows:
        _check_views(row, methods)
    colour_bar = rows[0].views[0].colour_bar if methods else None
    columns = ColumnGroup("", ["input", *methods])
    return image_grid([_grid_row(row, cell) for row in rows], [columns], cell, title, colour_bar)


def _check_views(row: LocalisationRow, methods: Sequence[str]) -> None:
    if len(row.views) != len(methods):
        message = (
            f"a {row.defect_type} {row.product} has {len(row.views)} views and "
            f"there are {len(methods)} methods"
        )
        raise OptionError(f"{message} ({', '.join(methods)}); give one view for each")


def _grid_row(row: LocalisationRow, cell: int) -> ImageRow:
    image = _load(row.image, cell)
    truth = image
    if row.mask is not None:
        # As floats, of which the mean over an area is above 0 as soon as one pixel is.
        mask = resize(row.mask.astype(np.float32), *image.shape[:2]) > 0
        truth = draw_mask_outline(image, mask)
    views = [view.draw(image) for view in row.views]
    return ImageRow(row.product, row.defect_type, [truth, *views])


def sample_figure(
    products: Mapping[str, Mapping[str, Sequence[ImageInput]]], title: str = "", cell: int = 128
) -> ImageU8:
    """A page with a row for each product: good images, then those of each defect type.

    Args:
        products: images by product and defect type; a product may lack a type or have fewer images
            of it.
        title: over the page.
        cell: the longer side of an image on the page, in pixels.

    Raises:
        OptionError: no images.
        ImageError: an array that is no image.

    Warns:
        UserWarning: no installed font has some of the characters.

    >>> image = np.zeros((64, 64), np.uint8)
    >>> sample_figure({"Black": {"good": [image], "stain": [image, image]}}, cell=64).shape[2]
    3
    """
    counts = _columns_by_type(products)
    if not counts:
        raise OptionError("no images to show; give one or more of some product")
    groups = [ColumnGroup(defect_type, [""] * count) for defect_type, count in counts.items()]
    rows = []
    for product, by_type in products.items():
        images: list[ImageU8 | None] = []
        for defect_type, count in counts.items():
            loaded = [_load(image, cell) for image in by_type.get(defect_type, ())]
            images += loaded
            images += [None] * (count - len(loaded))
        rows.append(ImageRow(product, "", images))
    return image_grid(rows, groups, cell, title)


def _columns_by_type(
    products: Mapping[str, Mapping[str, Sequence[ImageInput]]],
) -> dict[str, int]:
    """The most images that any product has of each type, `good` first."""
    counts = {"good": 0}
    for by_type in products.values():
        for defect_type, images in by_type.items():
            counts[defect_type] = max(counts.get(defect_type, 0), len(images))
    return {defect_type: count for defect_type, count in counts.items() if count}


def contact_sheet(
    products: Mapping[str, Sequence[Sequence[ImageInput]]], columns: Sequence[str], cell: int = 168
) -> ImageU8:
    """A page with the rows of each product beside those of the others.

    Args:
        products: rows of images by product; a product may have fewer rows than another.
        columns: what stands over the columns of each product; as many as a row has images.
        cell: the longer side of an image on the page, in pixels.

    Raises:
        OptionError: no images.
        ImageError: an array that is no image.

    Warns:
        UserWarning: no installed font has some of the characters.

    >>> image = np.zeros((64, 64), np.uint8)
    >>> sheet = contact_sheet({"Black": [[image]], "White": [[image]]}, ["image"], cell=64)
    >>> sheet.shape[1] > 2 * 64
    True
    """
    height = max((len(rows) for rows in products.values()), default=0)
    if not height:
        raise OptionError("no images to show; give one or more of some product")
    grid = []
    for index in range(height):
        images: list[ImageU8 | None] = []
        for rows in products.values():
            if index < len(rows):
                images += [_load(image, cell) for image in rows[index]]
            else:
                images += [None] * len(columns)
        grid.append(ImageRow("", "", images))
    return image_grid(grid, [ColumnGroup(product, columns) for product in products], cell)


def _load(image: ImageInput, cell: int) -> ImageU8:
    """The image in RGB of 8 bits, its longer side as long as a cell."""
    pixels = to_uint8(decode(image))
    factor = cell / max(pixels.shape[:2])
    height, width = (max(1, round(side * factor)) for side in pixels.shape[:2])
    return resize(pixels, height, width)
