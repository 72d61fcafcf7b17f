"""Zones and tiles drawn over an image: outlines with names, and the borders of tiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from flawmap.render.fonts import Fonts
from flawmap.runtime.image_types import ImageU8
from flawmap.runtime.mask import Counting

_COLOURS = (
    (255, 196, 0),
    (0, 200, 255),
    (255, 90, 160),
    (120, 230, 80),
    (190, 140, 255),
    (255, 130, 40),
)
"""Of zones, in turn; bright, since most images of parts are grey."""

_TILE_COLOURS = ((255, 255, 255), (60, 60, 60))
"""Of neighbouring tiles, so that one can tell where they overlap."""

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_DARK, _WHITE = (20, 20, 20), (255, 255, 255)
_POINTS_PER_INCH = 72
"""At so many dots an inch a point is a pixel."""


class NamedZone(NamedTuple):
    """A zone to draw.

    Args:
        text: its name, with what else there is to say.
        pixels: in the size of the image, True in the zone.
        has_outline: whether a line goes around it; what is elsewhere takes none.
    """

    text: str
    pixels: Counting
    has_outline: bool = True


class TileBox(NamedTuple):
    """A tile to draw.

    Args:
        row: its first row in the image, in pixels.
        column: its first column.
        height: in pixels.
        width: in pixels.
        colour: 0 or 1; neighbours differ.
    """

    row: int
    column: int
    height: int
    width: int
    colour: int


def draw_zones(image: ImageU8, zones: Sequence[NamedZone]) -> None:
    """Draw the outlines and the names of zones, in place.

    Args:
        image: RGB, (height, width, 3).
        zones: one colour each, in turn.

    Example:
        >>> image = np.zeros((90, 90, 3), np.uint8)
        >>> pixels = np.zeros((90, 90), bool)
        >>> pixels[30:60, 30:60] = True
        >>> draw_zones(image, [NamedZone("", pixels)])
        >>> image[45, [10, 30]].tolist()
        [[0, 0, 0], [255, 196, 0]]
    """
    thickness = max(2, min(image.shape[:2]) // 250)
    colours = [_COLOURS[number % len(_COLOURS)] for number in range(len(zones))]
    for zone, colour in zip(zones, colours, strict=True):
        if zone.has_outline:
            edges = zone.pixels.astype(np.uint8)
            outlines, _ = cv2.findContours(edges, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
            cv2.drawContours(image, outlines, -1, colour, thickness)
    fonts = Fonts()
    fonts.warn_missing(zone.text for zone in zones)
    # Names last, so that no line goes through one.
    for zone, colour in zip(zones, colours, strict=True):
        if zone.pixels.any() and zone.text:
            missing = fonts.missing(zone.text)
            text = zone.text.translate(dict.fromkeys(map(ord, missing), _REPLACEMENT))
            _write(image, text, _innermost(zone.pixels), colour, fonts)


def draw_zone_name(image: ImageU8, name: str, top: int) -> None:
    """Write the name of a zone at an image's left side, in place.

    Args:
        image: RGB, (height, width, 3).
        name: of the zone; of a name without a font there are replacement characters.
        top: first row of the text, in pixels.

    Example:
        >>> image = np.zeros((90, 90, 3), np.uint8)
        >>> draw_zone_name(image, "bore", 30)
        >>> bool(image[:30].any()), bool(image[30:60, :60].any())
        (False, True)
    """
    fonts = Fonts()
    text = name.translate(dict.fromkeys(map(ord, fonts.missing(name)), _REPLACEMENT))
    size = max(11.0, min(image.shape[:2]) / 32)
    # A little to the right, clear of a reject's frame.
    _write(image[:, 4:], text, (top + round(0.75 * size) + 4, 0), _WHITE, fonts)


def draw_tiles(image: ImageU8, tiles: Sequence[TileBox], scale: float) -> None:
    """Draw the borders of tiles, in place.

    Args:
        image: RGB, (height, width, 3), perhaps smaller than the one that is cut.
        tiles: in pixels of the one that is cut.
        scale: of the image, as a fraction of that.

    Example:
        >>> image = np.zeros((90, 90, 3), np.uint8)
        >>> draw_tiles(image, [TileBox(0, 0, 64, 64, colour=0)], 1.0)
        >>> image[[0, 63, 80], 5, 0].tolist()
        [255, 255, 0]
    """
    thickness = max(1, min(image.shape[:2]) // 500)
    for row, column, height, width, colour in tiles:
        first = round(scale * column), round(scale * row)
        last = round(scale * (column + width)) - 1, round(scale * (row + height)) - 1
        cv2.rectangle(image, first, last, _TILE_COLOURS[colour], thickness)


def _innermost(pixels: Counting) -> tuple[int, int]:
    """Row and column of the pixel of a zone that is farthest from its border."""
    padded = np.pad(pixels.astype(np.uint8), 1)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(row), int(column)


def _write(
    image: ImageU8, text: str, middle: tuple[int, int], colour: tuple[int, int, int], fonts: Fonts
) -> None:
    """Write a text around a place, within the image, with a dark outline."""
    size = max(11.0, min(image.shape[:2]) / 32)
    text, size = fonts.fit(text, size, 0.9 * image.shape[1])
    ink = _ink(text, size, fonts)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    outline = cv2.dilate(ink, disc)
    sides = zip(middle, ink.shape, image.shape, strict=False)
    top, left = (min(max(at - side // 2, 0), max(room - side, 0)) for at, side, room in sides)
    place = image[top : top + ink.shape[0], left : left + ink.shape[1]]
    rows, columns = place.shape[:2]
    for layer, shade in ((outline, _DARK), (ink, colour)):
        amount = layer[:rows, :columns, None] / 255
        place[:] = np.rint(place + amount * (np.array(shade) - place.astype(float)))


def _ink(text: str, size: float, fonts: Fonts) -> np.ndarray:
    """How much of each pixel a text covers, 0…255, with a margin around it."""
    width, height = fonts.width(text, size) + 8, 1.5 * size + 8
    figure = Figure(
        (width / _POINTS_PER_INCH, height / _POINTS_PER_INCH), _POINTS_PER_INCH, facecolor="black"
    )
    canvas: Any = FigureCanvasAgg(figure)
    figure.text(
        0.5,
        0.5,
        text,
        size=size,
        color="white",
        ha="center",
        va="center",
        family=fonts.families,
        parse_math=False,
    )
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[:, :, 0])
