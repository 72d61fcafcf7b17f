"""Zones as users draw them: polygons of LabelMe or COCO, or an image with a colour for each.

On the command line they are regions; so they are in messages too.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flawmap.data.part_mask import on_first_image
from flawmap.data.polygon import Point, circle_points, fill_polygon
from flawmap.errors import ImageError, OptionError
from flawmap.runtime.grey_png import GreyPixels, check_size
from flawmap.runtime.image_types import ImageInput
from flawmap.runtime.images.decode import decode
from flawmap.runtime.images.image_input import name_of, read_input
from flawmap.runtime.mask import PartMask
from flawmap.runtime.preprocess import to_uint8
from flawmap.runtime.zones import ELSEWHERE, MAX_ZONES, Zones

ZoneInput = Zones | str | os.PathLike[str]
"""Zones as users have them.

The path of a JSON file of LabelMe, or of COCO for one image, whose polygons of one name are one
zone; or of an image file without loss, in which each colour but black is a zone, named `#rrggbb`.
"""


class _Shape(NamedTuple):
    """A polygon with the name of its zone.

    Args:
        name: of the zone.
        points: its corners.
    """

    name: str
    points: Sequence[Point]


def read_zones(source: ZoneInput) -> Zones:
    """The zones in a file, without what is in none of them.

    Args:
        source: as users have them.

    Raises:
        ImageError: the file cannot be read.
        OptionError: it has no zones, or zones that overlap, or one of nothing.

    Example:
        >>> read_zones(Zones.of(np.eye(9, dtype=np.uint8), ("bore",))).names
        ('bore',)
    """
    if isinstance(source, Zones):
        return source
    path = Path(source)
    try:
        zones = _of_json(path) if path.suffix.lower() == ".json" else _of_image(path)
    except OptionError as error:
        raise OptionError(f"{name_of(path)}: {error}") from error
    if ELSEWHERE in zones.names:
        raise OptionError(
            f"{name_of(path)}: a region is named {ELSEWHERE}, which is what is in none; give it "
            "another name"
        )
    return zones


def choose_zones(
    zones: Zones, mask: PartMask | None, images: Sequence[ImageInput], white: int | None = None
) -> Zones:
    """The zones for good images, with one more of all that counts and is in none.

    Args:
        zones: what `read_zones` returned.
        mask: what counts; None where all does.
        images: good images, of which those that cannot be read are passed over.
        white: the level of white in images of 16 bits; None for 65535.

    Raises:
        OptionError: the first image that can be read has another aspect than the zones, or nothing
            that counts is in one of them.

    Example:
        >>> zones = Zones.of(np.eye(9, dtype=np.uint8), ("bore",))
        >>> choose_zones(zones, None, [np.zeros((9, 9, 3), np.uint8)]).names
        ('bore', 'elsewhere')
    """
    return on_first_image(partial(_with_elsewhere, zones, mask), images, white) or zones


def zone_names(zones: Zones) -> tuple[str, ...]:
    """The names that budgets can be for: those of the zones, and of what is in none.

    Args:
        zones: what `read_zones` returned.
    """
    return (*zones.names, *([] if ELSEWHERE in zones.names else [ELSEWHERE]))


def check_budgets(budgets: Mapping[str, float], names: Sequence[str]) -> None:
    """Nothing, where each budget is for a zone.

    Args:
        budgets: by name.
        names: of the zones.

    Raises:
        OptionError: there is no such zone.

    Example:
        >>> check_budgets({"bore": 0.01}, ("bore", "elsewhere"))
    """
    for name in budgets:
        if name not in names:
            raise OptionError(f"a budget for the region {name!r}; there are {', '.join(names)}")


def _with_elsewhere(zones: Zones, mask: PartMask | None, height: int, width: int) -> Zones:
    labels = zones.at(height, width)
    counting = np.ones((height, width), bool) if mask is None else mask.at(height, width)
    for number, name in enumerate(zones.names, 1):
        if not (counting & (labels == number)).any():
            raise OptionError(f"nothing that the mask lets count is in the region {name!r}")
    if ELSEWHERE in zones.names or not (counting & (labels == 0)).any():
        return zones
    number = len(zones.names) + 1
    everywhere = np.where(zones.labels == 0, np.uint8(number), zones.labels)
    return Zones.of(everywhere, (*zones.names, ELSEWHERE))


def _of_image(path: Path) -> Zones:
    pixels = to_uint8(decode(path)).astype(np.uint32)
    colours = (pixels[:, :, 0] << 16) | (pixels[:, :, 1] << 8) | pixels[:, :, 2]
    found = np.unique(colours)
    found = found[found > 0]
    if not found.size:
        raise OptionError("no regions, for all of it is black; give each a colour")
    if len(found) > MAX_ZONES:
        raise OptionError(
            f"{len(found)} colours, and at most {MAX_ZONES} regions can be; save it as PNG, drawn "
            "without smoothing"
        )
    labels = np.searchsorted(found, colours).astype(np.uint8) + np.uint8(1)
    labels[colours == 0] = 0
    return Zones.of(labels, tuple(f"#{colour:06x}" for colour in found))


def _of_json(path: Path) -> Zones:
    try:
        content = read_input(path)
    except ImageError as error:
        raise ImageError(f"{name_of(path)}: {error}") from error
    try:
        document = json.loads(bytes(content))
        height, width, shapes = _shapes_of(document)
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise OptionError(
            f"no regions of LabelMe or COCO ({type(error).__name__}: {error}); save polygons in "
            "one of these forms"
        ) from error
    check_size(height, width, "the image of the regions")
    if not shapes:
        raise OptionError("no regions in it; draw polygons")
    return _drawn(shapes, height, width)


def _drawn(shapes: Sequence[_Shape], height: int, width: int) -> Zones:
    names = tuple(dict.fromkeys(shape.name for shape in shapes))
    if len(names) > MAX_ZONES:
        raise OptionError(f"{len(names)} regions; at most {MAX_ZONES} can be")
    labels: GreyPixels = np.zeros((height, width), np.uint8)
    for name, points in shapes:
        number = names.index(name) + 1
        inside = fill_polygon(points, height, width)
        others = inside & (labels > 0) & (labels != number)
        if others.any():
            other = names[labels[others][0] - 1]
            row, column = np.argwhere(others)[0]
            raise OptionError(
                f"the regions {other!r} and {name!r} overlap in {others.sum()} pixels, as at x "
                f"{column}, y {row}; a pixel can be in one of them"
            )
        labels[inside] = number
    return Zones.of(labels, names)


def _shapes_of(document: Any) -> tuple[int, int, list[_Shape]]:
    """Height and width of the image, and its polygons."""
    if "shapes" in document:
        size = _side(document["imageHeight"]), _side(document["imageWidth"])
        return *size, [_labelme_shape(shape) for shape in document["shapes"]]
    images = document["images"]
    if len(images) != 1:
        raise OptionError(f"{len(images)} images in it; save the regions of one image")
    names = {category["id"]: _name(category["name"]) for category in document["categories"]}
    size = _side(images[0]["height"]), _side(images[0]["width"])
    return *size, list(_coco_shapes(document["annotations"], names))


def _labelme_shape(shape: Any) -> _Shape:
    name, points = _name(shape["label"]), [_point(*point) for point in shape["points"]]
    form = shape.get("shape_type") or "polygon"
    if form == "rectangle" and len(points) == 2:
        (left, top), (right, bottom) = points
        points = [(left, top), (right, top), (right, bottom), (left, bottom)]
    elif form == "circle" and len(points) == 2:
        points = circle_points(points[0], points[1])
    elif form != "polygon" or len(points) < 3:
        raise OptionError(
            f"the region {name!r} has a {form} of {len(points)} points; draw polygons, rectangles "
            "or circles"
        )
    return _Shape(name, points)


def _coco_shapes(annotations: Sequence[Any], names: Mapping[Any, str]) -> Iterator[_Shape]:
    for annotation in annotations:
        name = names[annotation["category_id"]]
        if not isinstance(annotation["segmentation"], list):
            raise OptionError(f"the region {name!r} is run-length encoded; save polygons")
        for flat in annotation["segmentation"]:
            if len(flat) < 6:
                raise OptionError(f"the region {name!r} has a polygon of {len(flat) // 2} points")
            pairs = zip(flat[::2], flat[1::2], strict=True)
            yield _Shape(name, [_point(x, y) for x, y in pairs])


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise OptionError(f"a region is named {value!r}; give it a name")
    return value.strip()


def _point(x: Any, y: Any) -> Point:
    sides = float(x), float(y)
    if not all(math.isfinite(side) and abs(side) < 1e6 for side in sides):
        raise ValueError(f"a point at {x}, {y}")
    return sides


def _side(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= 10**6:
        raise ValueError(f"an image of {value!r} pixels a side")
    return value
