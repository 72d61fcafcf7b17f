"""A white page with images in rows and columns, and words around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from flawmap.render.heatmap import DARK
from flawmap.runtime.preprocess import ImageU8, resize

GREY, RULE = (110, 110, 110), (190, 190, 190)
PLAIN, BOLD = cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX
TITLE, WORD, NOTE = 0.7, 0.5, 0.42
"""Sizes of letters."""

MARGIN, GAP, APART = 18, 6, 12
"""Pixels around the page, between images, and between groups of columns besides."""

TITLE_ROOM, HEADING_ROOM, LEGEND_ROOM = 34, 26, 40
"""Pixels from top to bottom that they take."""

BAR = (12, 320)
"""Height and width of a legend's colours."""


class Heading(NamedTuple):
    """A word over one column or a group of them."""

    text: str
    columns: int = 1


class Line(NamedTuple):
    """A row of images, None where there is none, and the words at its left.

    One, and a note below it.
    """

    word: str
    note: str
    cells: Sequence[ImageU8 | None]


class Legend(NamedTuple):
    """Colours from left to right, and words below them."""

    colours: ImageU8
    left: str
    middle: str
    right: str


def lay_out(
    lines: Sequence[Line],
    headings: Sequence[Heading],
    cell: int,
    title: str = "",
    legend: Legend | None = None,
) -> ImageU8:
    """Lay out rows of images under their headings.

    Args:
        lines: from top to bottom, each with as many cells as the headings have columns.
        headings: from left to right.
        cell: width of a column; images in it are as wide or narrower.
        title: over the page.
        legend: under the images.
    """
    lefts = _columns(lines, headings, cell)
    header = MARGIN + (TITLE_ROOM if title else 0) + HEADING_ROOM
    tops = header + np.cumsum([0, *(_height(line, cell) + GAP for line in lines)])
    foot = int(tops[-1]) - GAP
    page = np.full(
        (foot + MARGIN + (LEGEND_ROOM if legend else 0), lefts[-1] + cell + MARGIN, 3),
        255,
        np.uint8,
    )
    _write(page, title, MARGIN, MARGIN + 16, page.shape[1] - 2 * MARGIN, TITLE, BOLD)
    _write_headings(page, headings, lefts, cell, header)
    for top, line in zip(tops.tolist(), lines, strict=False):
        _draw_line(page, line, lefts, cell, top)
    if legend:
        _draw_legend(page, legend, lefts[0], foot + GAP + MARGIN // 2)
    return page


def _columns(lines: Sequence[Line], headings: Sequence[Heading], cell: int) -> list[int]:
    words = [_width(line.word, WORD, BOLD) for line in lines] + [
        _width(line.note, NOTE, PLAIN) for line in lines
    ]
    left = MARGIN + (max(words) + MARGIN if any(words) else 0)
    apart = APART if any(heading.columns > 1 for heading in headings) else 0
    lefts = []
    for heading in headings:
        lefts += [left + column * (cell + GAP) for column in range(heading.columns)]
        left = lefts[-1] + cell + GAP + apart
    return lefts


def _height(line: Line, cell: int) -> int:
    return max((image.shape[0] for image in line.cells if image is not None), default=cell)


def _write_headings(
    page: ImageU8, headings: Sequence[Heading], lefts: Sequence[int], cell: int, base: int
) -> None:
    first = 0
    for heading in headings:
        left, right = lefts[first], lefts[first + heading.columns - 1] + cell
        _write(page, heading.text, left, base - 10, right - left, WORD, BOLD, 0.5)
        if heading.columns > 1:
            page[base - 4, left:right] = RULE
        first += heading.columns


def _draw_line(page: ImageU8, line: Line, lefts: Sequence[int], cell: int, top: int) -> None:
    height = _height(line, cell)
    middle, room = top + height // 2, lefts[0] - 2 * MARGIN
    _write(page, line.word, MARGIN, middle + (-3 if line.note else 5), room, WORD, BOLD)
    _write(page, line.note, MARGIN, middle + 15, room, NOTE, PLAIN, colour=GREY)
    for left, image in zip(lefts, line.cells, strict=True):
        if image is not None:
            rows, columns = image.shape[:2]
            y, x = top + (height - rows) // 2, left + (cell - columns) // 2
            page[y : y + rows, x : x + columns] = image


def _draw_legend(page: ImageU8, legend: Legend, left: int, top: int) -> None:
    height, width = BAR[0], min(BAR[1], page.shape[1] - left - MARGIN)
    page[top : top + height, left : left + width] = resize(legend.colours, height, width)
    for word, place in ((legend.left, 0.0), (legend.middle, 0.5), (legend.right, 1.0)):
        _write(page, word, left, top + height + 15, width, NOTE, PLAIN, place, GREY)
    if legend.middle:
        page[top + height : top + height + 4, left + width // 2] = GREY


def _write(
    page: ImageU8,
    text: str,
    left: int,
    base: int,
    room: int,
    size: float,
    font: int,
    place: float = 0.0,
    colour: tuple[int, int, int] = DARK,
) -> None:
    """Draw text into a box of this width, left (0), centred (0.5) or right (1)."""
    if text:
        size *= min(1, room / _width(text, size, font))
        x = left + round(place * (room - _width(text, size, font)))
        cv2.putText(page, _spelt(text), (x, base), font, size, colour, 1, cv2.LINE_AA)


def _width(text: str, size: float, font: int) -> int:
    return int(cv2.getTextSize(_spelt(text), font, size, 1)[0][0])


def _spelt(text: str) -> str:
    return text.replace("_", " ")
