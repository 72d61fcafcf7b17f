"""Product names in any language, where a font has them and where none has."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.font_manager import fontManager

from flawmap.render import fonts as module
from flawmap.render.figures import sample_figure
from flawmap.render.fonts import Fonts

NAME = "散热片"
IN_NO_FONT = "\N{EGYPTIAN HIEROGLYPH A001}"
LATIN = Fonts(["DejaVu Sans"])
"""What matplotlib brings, and nothing that this machine may have besides."""


def make_font(file: Path, family: str, characters: str) -> Path:
    """A font in which each of these characters is a full black square."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 1000), (1000, 1000), (1000, 0)):
        pen.lineTo(corner)
    pen.closePath()
    names = [".notdef", *(f"uni{ord(character):04X}" for character in characters)]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap(dict(zip(map(ord, characters), names[1:], strict=True)))
    builder.setupGlyf(dict.fromkeys(names, pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    builder.setupHorizontalHeader(ascent=1000, descent=0)
    builder.setupNameTable({"familyName": family, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(file)
    return file


@pytest.fixture
def listed_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fonts the test adds, matplotlib forgets them afterwards."""
    monkeypatch.setattr(fontManager, "ttflist", list(fontManager.ttflist))


def label_of(product: str) -> np.ndarray:
    """Where the page has ink to the left of its only image, which is white."""
    page = sample_figure({product: {"good": [np.full((64, 64), 255, np.uint8)]}}, cell=64)
    return np.asarray(np.all(page[:, : page.shape[1] - 64 - 18] < 128, axis=2))


@pytest.mark.usefixtures("listed_fonts")
def test_a_product_name_is_drawn_with_the_font_that_has_it(tmp_path: Path) -> None:
    characters = "\N{EGYPTIAN HIEROGLYPH B001}\N{EGYPTIAN HIEROGLYPH C001}"
    fontManager.addfont(make_font(tmp_path / "squares.ttf", "WenQuanYi Zen Hei", characters))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)  # of an older matplotlib
        rows, columns = np.nonzero(label_of(characters))
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert 14 <= height <= 16, "as high as the type is large"
    assert 29 <= width <= 31, "two squares side by side"
    assert len(rows) >= 14 * 29, "and nothing but ink in them"


def test_a_missing_glyph_is_named_and_the_figure_is_drawn() -> None:
    with pytest.warns(UserWarning, match=f"no installed font has the glyphs {IN_NO_FONT};") as seen:
        ink = label_of(f"heat sink {IN_NO_FONT}{IN_NO_FONT}")
    assert len(seen) == 1, "matplotlib does not warn besides"
    with pytest.warns(UserWarning, match="Noto Sans CJK SC"):
        replaced = label_of(f"heat sink {IN_NO_FONT}")
    assert ink.sum() > replaced.sum() > 0, "each is drawn as a replacement character"


def test_chinese_is_missing_from_what_matplotlib_brings() -> None:
    assert LATIN.missing(f"Black {NAME}{NAME}") == NAME
    assert LATIN.drawable(f"Black_{NAME}") == "Black ���"
    with pytest.warns(UserWarning, match=f"glyphs {NAME}; they are drawn as �"):
        LATIN.warn_missing(["Black", NAME])


def test_chinese_is_drawn_without_a_warning_where_a_font_has_it() -> None:
    fonts = Fonts()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fonts.warn_missing([NAME])  # finds what was installed since matplotlib listed the fonts
    if fonts.missing(NAME):
        pytest.skip("needs a font with Chinese characters, such as the package fonts-noto-cjk")
    assert fonts.drawable(NAME) == NAME
    assert not np.array_equal(label_of(NAME), label_of(NAME[::-1]))


@pytest.mark.usefixtures("listed_fonts")
def test_a_font_that_was_installed_since_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = make_font(tmp_path / "new.ttf", "Newly Installed", IN_NO_FONT)
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    monkeypatch.setattr(
        module, "findSystemFonts", lambda: [str(tmp_path / "broken.ttf"), str(file)]
    )
    module._list_new_fonts.cache_clear()
    fonts = Fonts(["DejaVu Sans", "Newly Installed"])
    assert fonts.missing(IN_NO_FONT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)  # of an older matplotlib
        fonts.warn_missing([IN_NO_FONT])
    assert fonts.drawable(IN_NO_FONT) == IN_NO_FONT
    module._list_new_fonts.cache_clear()


def test_dollars_are_no_formula_and_line_ends_no_line() -> None:
    assert LATIN.width("$x$", 20) > 2 * LATIN.width("x", 20)
    assert LATIN.drawable("a\n\tb_c ") == "a b c"
    assert not np.array_equal(label_of("$x$"), label_of("x"))


def test_text_is_shrunk_a_little_and_then_cut() -> None:
    text = "manipulated front and back"
    width = LATIN.width(text, 16)
    assert LATIN.fit(text, 16, width) == (text, 16)
    assert LATIN.fit(text, 16, 0.9 * width)[0] == text
    cut, size = LATIN.fit(text, 16, 0.5 * width)
    assert (cut.endswith("…"), size) == (True, 12)
    assert text.startswith(cut[:-1])
    assert 0.4 * width < LATIN.width(cut, size) <= 0.5 * width
    assert LATIN.width("", 16) == 0
