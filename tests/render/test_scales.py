from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flawmap.render.heatmap import overlay
from flawmap.render.scales import CalibratedScale, DatasetScale, ValueRange
from flawmap.runtime.verdict import Verdict
from helpers import texture

IMAGE = texture(0, 80, 80)
BOTTOM, TOP = (0, 0, 128), (128, 0, 0)
"""The ends of jet."""


def view(value: float, score: float = 0.5) -> DatasetScale:
    return DatasetScale(
        np.full((80, 80), value, np.float32), score, ValueRange(2.0, 6.0), ValueRange(0.0, 1.0)
    )


def verdict(value: float, *, reject: bool = False) -> Verdict:
    return Verdict(1.234, 0.5, reject, np.full((80, 80), value, np.float32))


def below(image: np.ndarray) -> np.ndarray:
    """What is below the score."""
    return image[30:].astype(int)


@pytest.mark.parametrize(
    ("value", "colour"),
    [(2, BOTTOM), (6, TOP), (-9, BOTTOM), (99, TOP), (4, (130, 255, 126)), (3, (0, 128, 255))],
)
def test_colours_span_the_test_set_half_and_half_with_the_image(
    value: float, colour: tuple[int, int, int]
) -> None:
    expected = (IMAGE.astype(float) + colour) / 2
    assert np.abs(below(view(value).draw(IMAGE)) - below(expected)).max() <= 2


def test_a_test_set_of_one_value_is_all_bottom() -> None:
    flat = replace(view(3), heatmaps=ValueRange(3.0, 3.0), scores=ValueRange(0.5, 0.5))
    assert np.array_equal(flat.draw(IMAGE), replace(view(2), score=0.0).draw(IMAGE))


def test_the_score_is_scaled_over_the_test_set_and_stands_in_the_top_left_corner() -> None:
    first, other = view(2, 0.25).draw(IMAGE), view(2, 0.75).draw(IMAGE)
    changed = np.argwhere((first != other).any(axis=2))
    assert len(changed)
    assert (changed.max(axis=0) < (24, 50)).all()
    doubled = replace(view(2, 0.5), scores=ValueRange(0.0, 2.0))
    assert np.array_equal(doubled.draw(IMAGE), first)
    assert np.array_equal(view(2, 7.0).draw(IMAGE), view(2, 1.0).draw(IMAGE))


def test_a_map_of_another_size_is_brought_to_the_image() -> None:
    half = np.full((10, 5), 2, np.float32)
    half[:, 3:] = 6
    drawn = replace(view(2), heatmap=half).draw(np.zeros((80, 80, 3), np.uint8)).astype(int)
    assert (drawn[40, 5] == np.array(BOTTOM) // 2).all()
    assert (drawn[40, -5] == np.array(TOP) // 2).all()


def test_the_calibrated_view_is_the_overlay() -> None:
    assert np.array_equal(
        CalibratedScale(verdict(1.3, reject=True)).draw(IMAGE),
        overlay(IMAGE, verdict(1.3, reject=True)),
    )
    smaller = replace(verdict(1.3), heatmap=np.full((20, 40), 1.3, np.float32))
    assert np.array_equal(
        below(CalibratedScale(smaller).draw(IMAGE)),
        below(CalibratedScale(verdict(1.3)).draw(IMAGE)),
    )


def test_each_scale_has_its_colours_below() -> None:
    assert tuple(DatasetScale.colour_bar.colours[0, 0]) == BOTTOM
    assert tuple(DatasetScale.colour_bar.colours[0, -1]) == TOP
    limit = CalibratedScale.colour_bar.colours[0, 128]
    assert limit.argmax() == 1, "the limit, in the middle, is green"
