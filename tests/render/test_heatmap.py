from __future__ import annotations

import cv2
import numpy as np
import pytest

from flawmap.render.heatmap import COLOUR_MAX, colourise, draw_label, draw_mask_outline, overlay
from flawmap.runtime.preprocess import to_uint8
from flawmap.runtime.verdict import Verdict, ZoneVerdict
from helpers import texture

IMAGE = texture(0, 120, 160)
RED = (225, 40, 40)


def verdict(value: float, *, reject: bool = False) -> Verdict:
    return Verdict(1.234, 0.5, reject, np.full((120, 160), value, np.float32))


def test_a_value_has_one_colour_whatever_the_image() -> None:
    colours = colourise(np.array([[0, 1, 2, 9]], np.float32))
    other = colourise(np.array([[1, 1, 1, 1]], np.float32))
    assert (colours[0, 1] == other[0, 0]).all()
    assert (colours[0, 2] == colours[0, 3]).all()


def test_the_limit_is_green_and_half_as_much_again_is_red() -> None:
    limit, beyond = colourise(np.array([[1, COLOUR_MAX]], np.float32))[0].astype(int)
    assert limit.argmax() == 1
    assert beyond.argmax() == 0


def test_a_good_part_shows_through() -> None:
    drawn = overlay(IMAGE, verdict(0.0))[40:]
    assert np.abs(drawn.astype(int) - IMAGE[40:]).mean() < 15
    assert np.abs(overlay(IMAGE, verdict(2.0))[40:].astype(int) - IMAGE[40:]).mean() > 40


def test_the_score_stands_in_the_top_left_corner() -> None:
    plain, scored = (
        overlay(IMAGE, verdict(0.0)),
        overlay(IMAGE, Verdict(9.87, 0.5, False, verdict(0.0).heatmap)),
    )
    changed = np.argwhere((plain != scored).any(axis=2))
    assert len(changed)
    assert (changed.max(axis=0) < (30, 60)).all()


@pytest.mark.parametrize("ground", [0, 128, 255])
@pytest.mark.parametrize("size", [(60, 40), (224, 224), (900, 1200), (8, 8)])
def test_a_score_is_legible_on_any_ground(ground: int, size: tuple[int, int]) -> None:
    plain = np.full((*size, 3), ground, np.uint8)
    drawn = draw_label(plain, "0.87")
    assert (plain == ground).all()
    if min(size) > 8:
        dark = drawn.max(axis=2) < 80
        assert dark.sum() > 60
        assert drawn.max() > 240
        if ground < 255:
            letters = drawn.min(axis=2) > 200
            assert letters.sum() > 20
            assert cv2.dilate(dark.astype(np.uint8), np.ones((13, 13)))[letters].mean() > 0.9, (
                "all around, close by"
            )


def test_the_zone_that_decides_is_named_under_the_score() -> None:
    image, heatmap = texture(0, 200, 300), np.zeros((200, 300), np.float32)
    bore = ZoneVerdict("bore", 1.0, threshold=2.0, p_value=0.5, reject=False)
    plain = overlay(image, Verdict(1.0, 0.5, False, heatmap))
    named = overlay(image, Verdict.of_zones((bore,), heatmap))
    rows, columns = np.nonzero((plain != named).any(axis=2))
    assert 15 < rows.min() < rows.max() < 80
    assert columns.max() < 80


def test_a_reject_has_a_red_frame() -> None:
    drawn = overlay(IMAGE, verdict(0.0, reject=True))
    assert (drawn[-1] == RED).all()
    assert (drawn[:, -1] == RED).all()


def test_the_line_goes_round_the_defect_and_leaves_it_visible() -> None:
    image, mask = np.full((64, 64, 3), 128, np.uint8), np.zeros((64, 64), bool)
    mask[20:40, 20:40] = True
    drawn = draw_mask_outline(image, mask)
    assert (drawn == RED).all(axis=2).any()
    assert (drawn[mask] == 128).all()
    assert (image == 128).all()


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)])
def test_any_depth_is_drawn(dtype: type, white: int) -> None:
    assert np.abs(to_uint8((IMAGE / 255 * white).astype(dtype)).astype(int) - IMAGE).max() <= 1
