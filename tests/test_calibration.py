from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flawmap.calibration import Calibration
from flawmap.errors import OptionError


def calibrate(count: int, false_rejects: float) -> Calibration:
    scores = np.random.default_rng(0).permutation(count).astype(float)
    return Calibration(scores, 2 * scores, false_rejects)


def test_the_threshold_is_the_kth_largest_score() -> None:
    calibration = calibrate(761, 0.01)
    # ⌊0.01 · 762⌋ = 7
    assert calibration.threshold == 761 - 7
    assert calibration.limit == 2 * (761 - 7)
    assert calibration.budget == 7 / 762


@pytest.mark.parametrize(("false_rejects", "needed"), [(0.01, 99), (0.002, 499), (0.5, 1), (0.29, 3)])
def test_pictures_needed(false_rejects: float, needed: int) -> None:
    calibration = calibrate(needed, false_rejects)
    assert calibration.pictures_needed == needed
    assert calibration.budget <= false_rejects
    if needed > 1:
        assert calibrate(needed - 1, false_rejects).budget > false_rejects


def test_too_few_pictures_take_the_highest_score() -> None:
    calibration = calibrate(20, 0.01)
    assert calibration.threshold == 19
    assert calibration.budget == 1 / 21


@given(st.integers(1, 300), st.floats(0.001, 0.9), st.integers(-1, 301))
def test_rejecting_is_a_small_p_value(count: int, false_rejects: float, score: int) -> None:
    calibration = calibrate(count, false_rejects)
    assert calibration.rejects(score) == (calibration.p_value(score) <= calibration.budget + 1e-12)


def test_ties_are_not_rejected() -> None:
    calibration = Calibration(np.ones(100), np.ones(100), 0.05)
    assert not calibration.rejects(1.0)
    assert calibration.p_value(1.0) == 1.0
    assert calibration.rejects(1.001)


def test_the_budget_is_kept_on_average() -> None:
    rng = np.random.default_rng(1)
    draws = [Calibration(rng.gumbel(size=99), np.ones(99), 0.05).rejects(rng.gumbel()) for _ in range(2000)]
    # Four standard deviations of 2,000 coins that fall 5 % of the time.
    assert abs(np.mean(draws) - 0.05) < 4 * (0.05 * 0.95 / 2000) ** 0.5


def test_rounding_is_no_difference() -> None:
    calibration = Calibration(np.zeros(100), np.zeros(100), 0.05)
    assert not calibration.rejects(3e-7)
    assert calibration.p_value(3e-7) == 1
    assert calibration.limit > 0
    assert calibration.rejects(0.01)


@pytest.mark.parametrize("false_rejects", [0, 1, 2, -0.1])
def test_a_budget_outside_0_to_1(false_rejects: float) -> None:
    with pytest.raises(OptionError, match="not between 0 and 1"):
        calibrate(10, false_rejects)
