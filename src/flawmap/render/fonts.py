"""Fonts for texts of any language in figures, and a warning where no font has a character."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, findSystemFonts, fontManager, get_font
from matplotlib.ft2font import FT2Font

_FAMILIES = (
    "DejaVu Sans",
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "Microsoft YaHei",
    "SimHei",
    "PingFang SC",
    "Hiragino Sans GB",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
)
"""In the order in which they are tried; matplotlib brings the first, a system one of the others."""

_POINTS_PER_INCH = 72
"""At so many dots an inch a point is a pixel."""

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_MIN_SCALE = 0.75
"""Text that is too long is shrunk to this fraction of its size at most, and then cut."""


class Fonts:
    """The installed ones of some font families; each character is drawn in the first that has it.

    Args:
        families: names of font families, in the order in which they are looked through.

    >>> fonts = Fonts(["DejaVu Sans", "No Such Font"])
    >>> fonts.families
    ['DejaVu Sans']
    >>> fonts.missing("scratch")
    ''
    """

    def __init__(self, families: Sequence[str] = _FAMILIES) -> None:
        self._requested = families
        self.families = self._installed()

    def missing(self, text: str) -> str:
        """The characters that no font has, each once, in the order in which they come.

        Args:
            text: any text.
        """
        fonts = [_load(family) for family in self.families]
        return "".join(
            character
            for character in dict.fromkeys(text)
            if not any(font.get_char_index(ord(character)) for font in fonts)
        )

    def warn_missing(self, texts: Iterable[str]) -> None:
        """Warn once of all characters that no installed font has.

        Fonts that were installed after matplotlib had listed them are found as well.

        Args:
            texts: what will be drawn.

        Warns:
            UserWarning: some characters are missing; it names them.
        """
        text = "".join(map(_one_line, texts))
        if self.missing(text):
            _list_new_fonts()
            self.families = self._installed()
        if missing := self.missing(text):
            warnings.warn(
                f"no installed font has the glyphs {missing}; they are drawn as {_REPLACEMENT}. "
                f"Install a font that has them, as {_FAMILIES[1]}",
                UserWarning,
                stacklevel=2,
            )

    def drawable(self, text: str) -> str:
        """The text in one line, with a replacement character for each that no font has.

        Args:
            text: any text; underscores become blanks, as they stand for them in folder names.
        """
        line = _one_line(text)
        return line.translate({ord(character): _REPLACEMENT for character in self.missing(line)})

    def width(self, text: str, size: float) -> float:
        """The width of a drawable text, in pixels.

        Args:
            text: one line, of characters that a font has.
            size: of the type, in pixels.
        """
        if not text.strip():
            return 0.0
        figure = Figure(dpi=_POINTS_PER_INCH)
        drawn = figure.text(0, 0, text, size=size, family=self.families, parse_math=False)
        canvas: Any = FigureCanvasAgg(figure)
        return float(drawn.get_window_extent(canvas.get_renderer()).width)

    def fit(self, text: str, size: float, room: float) -> tuple[str, float]:
        """The text and its size, shrunk a little and then cut where it has no room.

        Args:
            text: one line, of characters that a font has.
            size: of the type, in pixels.
            room: the width that there is, in pixels.
        """
        width = self.width(text, size)
        if width <= room:
            return text, size
        shrunk = size * max(_MIN_SCALE, room / width)
        kept = text
        while kept and self.width(text, shrunk) > room:
            kept = kept[:-1].rstrip()
            text = f"{kept}…"
        return text, shrunk

    def _installed(self) -> list[str]:
        installed = set(fontManager.get_font_names())
        return [family for family in self._requested if family in installed]


def _one_line(text: str) -> str:
    return " ".join(text.replace("_", " ").split())


def _load(family: str) -> FT2Font:
    return get_font(findfont(FontProperties(family=family)))


@cache
def _list_new_fonts() -> None:
    """Add the fonts to matplotlib's list that were installed since it was written."""
    listed = {font.fname for font in fontManager.ttflist}
    for path in findSystemFonts():
        if path not in listed:
            try:
                fontManager.addfont(path)
            except (OSError, RuntimeError):
                continue  # not every file is of a kind that matplotlib reads
