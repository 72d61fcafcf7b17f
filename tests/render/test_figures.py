from __future__ import annotations

import numpy as np
import pytest

from flawmap.errors import ImageError, OptionError
from flawmap.render.figures import (
    LocalisationRow,
    contact_sheet,
    localisation_figure,
    sample_figure,
)
from flawmap.render.scales import CalibratedScale, DatasetScale, ValueRange
from flawmap.runtime.verdict import Verdict
from helpers import texture

IMAGE = texture(0, 80, 80)
CELL = 80
RED = (225, 40, 40)
BOTTOM = (0, 0, 128)
"""The first colour of jet."""


GOOD = Verdict(1.2, 0.5, False, np.zeros((80, 80), np.float32))


def view(value: float) -> DatasetScale:
    heatmap = np.full((80, 80), value, np.float32)
    return DatasetScale(heatmap, 0.5, ValueRange(2.0, 6.0), ValueRange(0.0, 1.0))


def find(page: np.ndarray, image: np.ndarray) -> list[tuple[int, int]]:
    """Where on the page the image is."""
    height, width = image.shape[:2]
    starts = np.argwhere(
        (page[: len(page) - height, : page.shape[1] - width] == image[0, 0]).all(axis=2)
    )
    return [
        (y, x)
        for y, x in starts.tolist()
        if np.array_equal(page[y : y + height, x : x + width], image)
    ]


def test_a_row_is_the_image_and_a_view_of_each_method() -> None:
    other = texture(1, 80, 80)
    cases = [
        LocalisationRow("Black", "good", IMAGE, [view(2), view(4)]),
        LocalisationRow("White", "scratch", other, [view(3), view(6)]),
    ]
    page = localisation_figure(cases, ["PaDiM", "Ours"], "Title", cell=CELL)
    expected = [
        [IMAGE, *(v.draw(IMAGE) for v in cases[0].views)],
        [other, *(v.draw(other) for v in cases[1].views)],
    ]
    corners = [[find(page, image) for image in row] for row in expected]
    assert all(len(all_corners) == 1 for row in corners for all_corners in row)
    (top, left), (bottom, _) = corners[0][0][0], corners[1][0][0]
    assert [y for row in corners for ((y, _),) in row] == [top] * 3 + [bottom] * 3
    assert [x for row in corners for ((_, x),) in row] == [left, left + 86, left + 172] * 2
    words = np.any(page < 128, axis=2)
    for column in range(3):
        assert words[top - 26 : top, left + 86 * column : left + 86 * column + 80].any(), (
            "its name is over each column"
        )
    assert words[top : top + 80, :left].any()
    assert words[bottom : bottom + 80, :left].any()
    assert find(page[bottom + 80 :], np.full((12, 1, 3), BOTTOM, np.uint8)), "the legend"


def test_the_two_scales_have_their_own_legends() -> None:
    pages = [
        localisation_figure([LocalisationRow("a", "good", IMAGE, [v])], ["b"], cell=CELL)
        for v in (
            view(2),
            CalibratedScale(GOOD),
        )
    ]
    assert pages[0].shape == pages[1].shape
    assert (pages[0][-50:] != pages[1][-50:]).any()


def test_true_defects_are_outlined_on_the_input_alone() -> None:
    mask = np.zeros((160, 160), bool)
    mask[80:120, 80:120] = True
    large = texture(3, 160, 160)
    pages = [
        localisation_figure([LocalisationRow("a", "dent", large, [view(2)], m)], ["b"], cell=CELL)
        for m in (mask, None, mask & False)
    ]
    assert np.array_equal(pages[1], pages[2])
    changed = np.argwhere((pages[0] != pages[1]).any(axis=2))
    assert (pages[0][tuple(changed.T)] == RED).all()
    span = np.ptp(changed, axis=0)
    assert (span >= 20).all()
    assert (span <= 30).all()


def test_the_smallest_defect_is_outlined_after_shrinking() -> None:
    mask = np.zeros((800, 800), bool)
    mask[400, 400] = True
    case = LocalisationRow("a", "dent", np.full((800, 800, 3), 90, np.uint8), [view(2)], mask)
    page = localisation_figure([case], ["b"], cell=CELL)
    assert (page == RED).all(axis=2).any()


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)])
@pytest.mark.parametrize("channels", [(), (1,), (3,), (4,)])
def test_images_may_be_grey_or_of_any_depth(
    dtype: type, white: int, channels: tuple[int, ...]
) -> None:
    image: np.ndarray = np.full((80, 80, *channels), white, dtype)
    plain = np.full((80, 80, 3), 255, np.uint8)
    first, other = (
        localisation_figure([LocalisationRow("a", "good", p, [view(2)])], ["b"], cell=CELL)
        for p in (image, plain)
    )
    assert np.array_equal(first, other)
    assert np.array_equal(
        sample_figure({"a": {"good": [image]}}), sample_figure({"a": {"good": [plain]}})
    )


def test_what_cannot_be_laid_out() -> None:
    with pytest.raises(OptionError, match="no images"):
        localisation_figure([], ["PaDiM"])
    with pytest.raises(
        OptionError, match=r"good Black has 1 views and there are 2 methods \(PaDiM, Ours\)"
    ):
        localisation_figure([LocalisationRow("Black", "good", IMAGE, [view(2)])], ["PaDiM", "Ours"])
    with pytest.raises(ImageError, match="too few"):
        localisation_figure([LocalisationRow("Black", "good", IMAGE[:3], [view(2)])], ["PaDiM"])
    with pytest.raises(OptionError, match="no images"):
        sample_figure({"Black": {"good": []}})


def test_samples_have_a_row_for_each_product_and_columns_for_each_defect_type() -> None:
    shots = [texture(seed, 64, 64) for seed in range(6)]
    products = {
        "Black": {"stain": shots[:1], "good": shots[1:3]},
        "White": {"good": shots[3:4], "scratch": shots[4:]},
    }
    page = sample_figure(products, "Samples", cell=64)
    all_corners = [find(page, shot) for shot in shots]
    assert all(len(corner) == 1 for corner in all_corners)
    (stain,), (good,), (second,), (other,), (scratch,), (last,) = all_corners
    assert stain[0] == good[0] == second[0] < other[0] == scratch[0] == last[0]
    assert good[1] == other[1] < second[1] < stain[1] < scratch[1] < last[1], (
        "the good ones come first"
    )
    assert (page[good[0] : good[0] + 64, scratch[1] :] == 255).all(), (
        "a defect type that Black does not have"
    )
    words = np.any(page < 128, axis=2)
    assert words[good[0] : good[0] + 64, : good[1]].any()
    assert words[good[0] - 26 : good[0], scratch[1] : last[1] + 64].any()


def test_samples_are_fitted_into_their_cells() -> None:
    page = sample_figure({"a": {"good": [texture(0, 200, 50), texture(1, 20, 30)]}}, cell=100)
    assert page.shape[1] < 350
    assert 100 < page.shape[0] < 200


def test_the_contact_sheet_has_the_products_side_by_side() -> None:
    images = [texture(seed, 64, 64) for seed in range(6)]
    products = {"Black": [images[:2], images[2:4]], "White": [images[4:]]}
    sheet = contact_sheet(products, ["image", "truth"], cell=64)
    positions = [find(sheet, image) for image in images]
    assert all(len(position) == 1 for position in positions)
    first, second, third, fourth, fifth, sixth = (position[0] for position in positions)
    assert first[0] == second[0] == fifth[0] == sixth[0] < third[0] == fourth[0]
    assert first[1] == third[1] < second[1] == fourth[1] < fifth[1] < sixth[1]
    assert (sheet[third[0] :, fifth[1] :] == 255).all(), "White has one row"
    with pytest.raises(OptionError, match="no images"):
        contact_sheet({"Black": []}, ["image"])
