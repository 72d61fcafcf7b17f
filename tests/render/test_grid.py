from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from flawmap.render.grid import ColourBar, ColumnGroup, ImageRow, image_grid
from helpers import texture

CELL = 60
RULE = (190, 190, 190)


def block(shade: int, height: int = CELL, width: int = CELL) -> np.ndarray:
    """An image of a colour that letters do not have."""
    return np.full((height, width, 3), (shade, 200, 90), np.uint8)


def box_of(page: np.ndarray, shade: int) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of what has this colour."""
    rows, columns = np.nonzero((page == (shade, 200, 90)).all(axis=2))
    return rows.min(), rows.max() + 1, columns.min(), columns.max() + 1


def ink(page: np.ndarray) -> np.ndarray:
    return np.asarray(np.any(page < 128, axis=2))


def columns(count: int) -> list[ColumnGroup]:
    return [ColumnGroup("", [""] * count)]


def test_images_lie_in_rows_and_columns() -> None:
    rows = [
        ImageRow("", "", [block(10), block(20)]),
        ImageRow("", "", [block(40, height=31), None]),
    ]
    page = image_grid(rows, columns(2), CELL)
    first, second, third = (box_of(page, shade) for shade in (10, 20, 40))
    assert first[:2] == second[:2]
    assert (first[1] - first[0], first[3] - first[2]) == (CELL, CELL)
    assert second[2] - first[3] == third[0] - first[1] == 6
    assert third[1:] == (third[0] + 31, *first[2:])
    assert page.shape == (third[1] + 18, second[3] + 18, 3)
    assert (page[third[0] :, second[2] :] == 255).all(), "where no image is, the page is white"


def test_no_pixel_of_an_image_is_changed() -> None:
    images = [texture(seed, 61, 53) for seed in range(6)]
    rows = [ImageRow("Black", "good", images[:3]), ImageRow("White", "", images[3:])]
    page = image_grid(rows, [ColumnGroup("a", ["b", "c", "d"])], 57, "Title")
    for image in images:
        height, width = image.shape[:2]
        windows = np.lib.stride_tricks.sliding_window_view(page, (height, width, 3))[:, :, 0]
        candidates = np.argwhere((windows[:, :, 0, 0] == image[0, 0]).all(axis=2))
        equal = [np.array_equal(windows[y, x], image) for y, x in candidates]
        assert sum(equal) == 1


def test_a_small_image_is_in_the_middle_of_its_cell() -> None:
    rows = [ImageRow("", "", [block(10, 20, 30), block(20)]), ImageRow("", "", [block(40), None])]
    page = image_grid(rows, columns(2), CELL)
    small, beside, below = (box_of(page, shade) for shade in (10, 20, 40))
    assert small[0] - beside[0] == beside[1] - small[1] == 20
    assert small[2] - below[2] == below[3] - small[3] == 15


def test_groups_stand_apart_and_have_a_line_below_their_title() -> None:
    row = ImageRow("", "", [block(10), block(20), block(40)])
    page = image_grid([row], [ColumnGroup("a", ["", ""]), ColumnGroup("b", [""])], CELL)
    first, second, third = (box_of(page, shade) for shade in (10, 20, 40))
    assert second[2] - first[3] == 6
    assert third[2] - second[3] == 6 + 14
    lines = [row for row in page[: first[0]] if (row[first[2] : second[3]] == RULE).all()]
    assert len(lines) == 1
    assert (lines[0] == RULE).all(axis=1).sum() == second[3] - first[2]


def test_words_make_room_for_themselves() -> None:
    bare = image_grid([ImageRow("", "", [block(10)])], columns(1), CELL)
    assert (bare[: box_of(bare, 10)[0]] == 255).all()
    row = ImageRow("Black", "foreign_colour", [block(10)])
    groups = [ColumnGroup("", ["a heading that is too long"])]
    page = image_grid([row], groups, CELL, "A title that is wider than the image")
    top, bottom, left, right = box_of(page, 10)
    words = ink(page)
    middle = (top + bottom) // 2
    assert words[top:middle, : left - 18].any(), "the label, at the left"
    assert words[middle + 2 : bottom, : left - 18].any(), "the note"
    assert words[: top // 2, right:].any(), "the title, in its full length"
    assert words[top // 2 : top, left:right].any(), "the heading"
    assert not words[top // 2 :, right:].any(), "which is no wider than its column"
    assert not words[:, :18].any()
    assert not words[:, -18:].any()
    assert not words[top:, left - 9 : left].any()


def test_longer_words_make_a_wider_margin_and_underscores_are_blanks() -> None:
    def page(word: str) -> np.ndarray:
        return image_grid([ImageRow(word, "", [block(10)])], columns(1), CELL)

    assert page("White parts").shape[1] > page("White").shape[1]
    assert np.array_equal(page("magnetic_tile"), page("magnetic tile"))
    assert page(50 * "long name ").shape[1] < 400


@pytest.mark.parametrize("middle", ["", "limit"])
def test_a_colour_bar_shows_its_colours_from_left_to_right(middle: str) -> None:
    ramp = np.repeat(np.arange(0, 256, dtype=np.uint8)[None, :, None], 3, axis=2)
    rows = [ImageRow("", "", [block(255)])]
    page = image_grid(rows, columns(1), CELL, "", ColourBar(ramp, "low", middle, "high"))
    without = image_grid(rows, columns(1), CELL)
    start = without.shape[0]
    bar = page[start + 6, 18 : 18 + 340, 0].astype(int)
    assert (bar[0], bar[-1]) == (0, 255)
    assert (np.diff(bar) >= 0).all()
    words = np.any(page[start + 12 :] < 160, axis=(0, 2))
    thirds = [words[18:68].any(), words[168:208].any(), words[-68:].any()]
    assert thirds == [True, bool(middle), True]


def test_threads_draw_the_same_as_one() -> None:
    def draw(seed: int) -> np.ndarray:
        row = ImageRow(f"product {seed}", "good", [texture(seed, 40, 40)])
        return image_grid([row], [ColumnGroup("", ["input"])], 40, f"Title {seed}")

    expected = [draw(seed) for seed in range(12)]
    with ThreadPoolExecutor(4) as threads:
        assert all(map(np.array_equal, threads.map(draw, range(12)), expected))
