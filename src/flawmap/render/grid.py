"""A white page with images in rows and columns, pixel by pixel, and the words around them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.transforms import IdentityTransform

from flawmap.render.fonts import Fonts
from flawmap.runtime.image_types import ImageU8

_DPI = 128
"""A power of two, so that a width in inches is the same number of pixels again."""

_POINT = 72 / _DPI
"""Points a pixel, the unit of matplotlib's font sizes."""

_TITLE, _HEADING, _LABEL, _NOTE = 21, 15, 15, 13
"""Sizes of the type, in pixels."""

_INK, _GREY, _RULE = "#1e1e1e", "#6e6e6e", "#bebebe"
_MARGIN, _GAP, _GROUP_GAP = 18, 6, 14
_TITLE_HEIGHT, _HEADING_HEIGHT = 36, 24
_MAX_LABEL_WIDTH = 240
_BAR_WIDTH, _BAR_HEIGHT, _BAR_ROOM = 340, 12, 44


class ImageRow(NamedTuple):
    """A row of a grid of images, with words at its left.

    Args:
        label: at the left of the images.
        note: smaller and grey, below the label.
        images: of each column, at most as wide as a cell; None leaves its cell white.
    """

    label: str
    note: str
    images: Sequence[ImageU8 | None]


class ColumnGroup(NamedTuple):
    """Columns of a grid of images that stand together.

    Args:
        title: over all of them, with a line below; empty for none.
        columns: what stands over each column; empty for nothing.
    """

    title: str
    columns: Sequence[str]


class ColourBar(NamedTuple):
    """What the colours of the images mean.

    Args:
        colours: a row of pixels, from the lowest value to the highest.
        low: below its left end.
        middle: below its middle; empty for nothing.
        high: below its right end.
    """

    colours: ImageU8
    low: str
    middle: str
    high: str


def image_grid(
    rows: Sequence[ImageRow],
    groups: Sequence[ColumnGroup],
    cell: int,
    title: str = "",
    colour_bar: ColourBar | None = None,
) -> ImageU8:
    """An image with rows of images under their headings; no image is resampled.

    Args:
        rows: from top to bottom, each with as many images as the groups have columns.
        groups: from left to right.
        cell: width of a column, in pixels; an image is in the middle of its cell.
        title: over all, in its full length; the page is as wide as it needs.
        colour_bar: below the images.

    Returns:
        RGB, as large as rows, columns and words need.

    Warns:
        UserWarning: no installed font has some of the characters.

    >>> black = np.zeros((20, 30, 3), np.uint8)
    >>> page = image_grid([ImageRow("", "", [black, None])], [ColumnGroup("", ["a", "b"])], cell=30)
    >>> page.dtype, page.shape[1] == 18 + 30 + 6 + 30 + 18
    (dtype('uint8'), True)
    """
    fonts = Fonts()
    fonts.warn_missing(_texts(rows, groups, title))
    page = _Page(_Layout(rows, groups, cell, title, fonts, with_bar=colour_bar is not None), fonts)
    page.draw_title(title)
    page.draw_headings(groups)
    for index, row in enumerate(rows):
        page.draw_row(index, row)
    if colour_bar is not None:
        page.draw_colour_bar(colour_bar)
    return page.pixels()


def _texts(rows: Sequence[ImageRow], groups: Sequence[ColumnGroup], title: str) -> Iterator[str]:
    yield title
    for group in groups:
        yield group.title
        yield from group.columns
    for row in rows:
        yield row.label
        yield row.note


class _Layout:
    """Where everything is on the page, in pixels from its top-left corner."""

    def __init__(
        self,
        rows: Sequence[ImageRow],
        groups: Sequence[ColumnGroup],
        cell: int,
        title: str,
        fonts: Fonts,
        *,
        with_bar: bool,
    ) -> None:
        self.cell = cell
        self.label_width = _label_width(rows, fonts)
        self.lefts = self._column_lefts(groups)
        titles = any(group.title for group in groups)
        names = any(any(group.columns) for group in groups)
        self.groups_top = _MARGIN + (_TITLE_HEIGHT if title else 0)
        self.names_top = self.groups_top + (_HEADING_HEIGHT if titles else 0)
        self.heights = [_row_height(row, cell) for row in rows]
        first = self.names_top + (_HEADING_HEIGHT if names else 0)
        self.tops = [first]
        for height in self.heights:
            self.tops.append(self.tops[-1] + height + _GAP)
        self.bar_top = self.tops[-1] - _GAP + _MARGIN
        self.height = self.bar_top + (_BAR_ROOM if with_bar else 0)
        columns_end = self.lefts[-1] + cell
        bar_end = self.lefts[0] + _BAR_WIDTH if with_bar else 0
        title_end = _MARGIN + round(fonts.width(fonts.drawable(title), _TITLE))
        self.width = max(columns_end, bar_end, title_end) + _MARGIN

    def _column_lefts(self, groups: Sequence[ColumnGroup]) -> list[int]:
        left = _MARGIN + (self.label_width + _MARGIN if self.label_width else 0)
        extra_gap = _GROUP_GAP if any(len(group.columns) > 1 for group in groups) else 0
        lefts = []
        for group in groups:
            for _ in group.columns:
                lefts.append(left)
                left += self.cell + _GAP
            left += extra_gap
        return lefts


def _label_width(rows: Sequence[ImageRow], fonts: Fonts) -> int:
    widths = [0.0]
    for row in rows:
        widths.append(fonts.width(fonts.drawable(row.label), _LABEL))
        widths.append(fonts.width(fonts.drawable(row.note), _NOTE))
    return min(round(max(widths)), _MAX_LABEL_WIDTH)


def _row_height(row: ImageRow, cell: int) -> int:
    return max((image.shape[0] for image in row.images if image is not None), default=cell)


class _Page:
    """A matplotlib figure whose unit is the pixel, counted from the top-left corner."""

    def __init__(self, layout: _Layout, fonts: Fonts) -> None:
        self._layout = layout
        self._fonts = fonts
        self._figure = Figure((layout.width / _DPI, layout.height / _DPI), dpi=_DPI)
        self._canvas: Any = FigureCanvasAgg(self._figure)

    def pixels(self) -> ImageU8:
        self._canvas.draw()
        return np.ascontiguousarray(np.asarray(self._canvas.buffer_rgba())[:, :, :3])

    def draw_title(self, title: str) -> None:
        self._write(title, _TITLE, _MARGIN, _MARGIN + 16, self._layout.width)

    def draw_headings(self, groups: Sequence[ColumnGroup]) -> None:
        layout = self._layout
        column = 0
        for group in groups:
            left = layout.lefts[column]
            width = len(group.columns) * (layout.cell + _GAP) - _GAP
            base = layout.groups_top + _HEADING_HEIGHT - 9
            self._write(group.title, _HEADING, left, base, width, "center")
            if group.title and len(group.columns) > 1:
                self._rule(left, layout.groups_top + _HEADING_HEIGHT - 4, width)
            base = layout.names_top + _HEADING_HEIGHT - 8
            for name in group.columns:
                left = layout.lefts[column]
                self._write(name, _HEADING, left, base, layout.cell, "center")
                column += 1

    def draw_row(self, index: int, row: ImageRow) -> None:
        layout = self._layout
        top, height = layout.tops[index], layout.heights[index]
        middle = top + height // 2
        base = middle - 2 if row.note else middle + 5
        self._write(row.label, _LABEL, _MARGIN, base, layout.label_width)
        self._write(row.note, _NOTE, _MARGIN, middle + 15, layout.label_width, colour=_GREY)
        for left, image in zip(layout.lefts, row.images, strict=True):
            if image is not None:
                down = (height - image.shape[0]) // 2
                right = (layout.cell - image.shape[1]) // 2
                bottom = layout.height - top - down - image.shape[0]
                self._figure.figimage(image, left + right, bottom, origin="upper")

    def draw_colour_bar(self, bar: ColourBar) -> None:
        layout = self._layout
        bottom = layout.height - layout.bar_top - _BAR_HEIGHT
        box = np.array([layout.lefts[0], bottom, _BAR_WIDTH, _BAR_HEIGHT], float)
        box /= [layout.width, layout.height, layout.width, layout.height]
        axes = self._figure.add_axes((box[0], box[1], box[2], box[3]))
        axes.imshow(bar.colours, aspect="auto", interpolation="nearest")
        axes.set_axis_off()
        base = layout.bar_top + _BAR_HEIGHT + 18
        left, width = layout.lefts[0], _BAR_WIDTH
        self._write(bar.low, _NOTE, left, base, width, "left", _GREY)
        self._write(bar.middle, _NOTE, left, base, width, "center", _GREY)
        self._write(bar.high, _NOTE, left, base, width, "right", _GREY)
        if bar.middle:
            self._rule(left + width // 2, layout.bar_top + _BAR_HEIGHT, 1, height=5)

    def _write(
        self,
        text: str,
        size: int,
        left: int,
        base: int,
        room: int,
        align: Literal["left", "center", "right"] = "left",
        colour: str = _INK,
    ) -> None:
        line, fitted_size = self._fonts.fit(self._fonts.drawable(text), size, room)
        starts = {"left": left, "center": left + room // 2, "right": left + room}
        self._figure.text(
            starts[align],
            self._layout.height - base,
            line,
            transform=IdentityTransform(),
            horizontalalignment=align,
            color=colour,
            fontfamily=self._fonts.families,
            fontsize=fitted_size * _POINT,
            parse_math=False,
        )

    def _rule(self, left: int, top: int, width: int, height: int = 1) -> None:
        rule = Rectangle(
            (left, self._layout.height - top - height),
            width,
            height,
            transform=IdentityTransform(),
            facecolor=_RULE,
            linewidth=0,
            antialiased=False,
        )
        self._figure.add_artist(rule)
