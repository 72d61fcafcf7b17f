from __future__ import annotations

import numpy as np
import pytest

from flawmap.render.page import APART, GAP, MARGIN, RULE, Heading, Legend, Line, lay_out

CELL = 60


def block(shade: int, height: int = CELL, width: int = CELL) -> np.ndarray:
    """An image of a colour that letters do not have."""
    return np.full((height, width, 3), (shade, 200, 90), np.uint8)


def places(page: np.ndarray, shade: int) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of what has this colour."""
    rows, columns = np.nonzero((page == (shade, 200, 90)).all(axis=2))
    return rows.min(), rows.max() + 1, columns.min(), columns.max() + 1


def test_images_lie_in_rows_and_columns() -> None:
    lines = [Line("", "", [block(10), block(20)]), Line("", "", [block(40, height=31), None])]
    page = lay_out(lines, [Heading("a"), Heading("b")], CELL)
    first, second, third = (places(page, shade) for shade in (10, 20, 40))
    assert first[:2] == second[:2]
    assert second[2] == first[3] + GAP
    assert third == (first[1] + GAP, first[1] + GAP + 31, *first[2:])
    assert page.shape == (third[1] + MARGIN, second[3] + MARGIN, 3)
    assert (page[third[0] :, second[2] :] == 255).all(), "where no image is, the page is white"


def test_a_narrow_image_is_in_the_middle_of_its_column() -> None:
    page = lay_out(
        [Line("", "", [block(10, width=20)]), Line("", "", [block(20)])], [Heading("a")], CELL
    )
    narrow, full = places(page, 10), places(page, 20)
    assert narrow[2] - full[2] == full[3] - narrow[3] == 20


def test_a_low_image_is_in_the_middle_of_its_row() -> None:
    page = lay_out(
        [Line("", "", [block(10, height=20), block(20)])], [Heading("a"), Heading("b")], CELL
    )
    low, full = places(page, 10), places(page, 20)
    assert low[0] - full[0] == full[1] - low[1] == 20


def test_groups_stand_apart_and_have_a_line_below_their_word() -> None:
    line = Line("", "", [block(10), block(20), block(40)])
    page = lay_out([line], [Heading("a", 2), Heading("b")], CELL)
    first, second, third = (places(page, shade) for shade in (10, 20, 40))
    assert second[2] - first[3] == GAP
    assert third[2] - second[3] == GAP + APART
    lines = [row for row in page[: first[0]] if (row[first[2] : second[3]] == RULE).all()]
    assert len(lines) == 1
    assert (lines[0] == RULE).all(axis=1).sum() == second[3] - first[2]


def test_words_make_room_for_themselves() -> None:
    bare = lay_out([Line("", "", [block(10)])], [Heading("")], CELL)
    assert (bare[: places(bare, 10)[0]] == 255).all()
    page = lay_out(
        [Line("Black", "foreign_colour", [block(10)])],
        [Heading("a heading that is too long")],
        CELL,
        "Title",
    )
    top, bottom, left, right = places(page, 10)
    assert left > places(bare, 10)[2] + 60
    assert top > places(bare, 10)[0]
    words = (page < 128).any(axis=2)
    middle = (top + bottom) // 2
    assert words[top:middle, : left - MARGIN].any(), "at the left"
    assert words[middle + 4 : bottom, : left - MARGIN].any(), "the note"
    assert words[: top // 2].any(), "the title"
    assert words[top // 2 : top, left:right].any(), "the heading"
    assert not words[:, :MARGIN].any()
    assert not words[:, left - MARGIN // 2 : left].any()
    assert not words[:, right:].any()


def test_longer_words_make_a_wider_margin_and_underscores_are_blanks() -> None:
    def page(word: str) -> np.ndarray:
        return lay_out([Line(word, "", [block(10)])], [Heading("")], CELL)

    assert page("White parts").shape[1] > page("White").shape[1]
    assert np.array_equal(page("magnetic_tile"), page("magnetic tile"))


@pytest.mark.parametrize("middle", ["", "limit"])
def test_a_legend_shows_its_colours_from_left_to_right(middle: str) -> None:
    ramp = np.repeat(np.arange(0, 256, dtype=np.uint8)[None, :, None], 3, axis=2)
    line, heading = Line("", "", [block(255, width=200)]), Heading("")
    page = lay_out([line], [heading], 200, "", Legend(ramp, "low", middle, "high"))
    without = lay_out([line], [heading], 200)
    assert page.shape[0] > without.shape[0]
    bar = page[without.shape[0], MARGIN : MARGIN + 200, 0].astype(int)
    assert bar[0] == 0
    assert bar[-1] == 255
    assert (np.diff(bar) >= 0).all()
    words = (page[without.shape[0] :] < 160).any(axis=2)[10:].any(axis=0)
    thirds = [
        words[MARGIN : MARGIN + 50].any(),
        words[MARGIN + 80 : MARGIN + 120].any(),
        words[-MARGIN - 50 :].any(),
    ]
    assert thirds == [True, bool(middle), True]
