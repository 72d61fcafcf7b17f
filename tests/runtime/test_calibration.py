from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flawmap.errors import OptionError
from flawmap.runtime.calibration import Budget, Calibration
from flawmap.runtime.rank_bounds import confidence_at_rank, false_reject_upper_bound
from flawmap.runtime.zone_calibration import calibration_from_arrays


def calibrate(count: int, false_rejects: float, confidence: float | None = None) -> Calibration:
    scores = np.random.default_rng(0).permutation(count).astype(float)
    return Calibration(scores, 2 * scores, Budget(false_rejects, confidence))


def test_the_threshold_is_the_kth_largest_score() -> None:
    calibration = calibrate(761, 0.01)
    # ⌊0.01 · 762⌋ = 7
    assert calibration.threshold == 761 - 7
    assert calibration.map_limit == 2 * (761 - 7)
    assert calibration.expected_false_rejects == 7 / 762


@pytest.mark.parametrize(
    ("false_rejects", "needed"), [(0.01, 99), (0.002, 499), (0.5, 1), (0.29, 3)]
)
def test_images_needed(false_rejects: float, needed: int) -> None:
    assert Budget(false_rejects).images_needed == needed
    enough, short = calibrate(needed, false_rejects), calibrate(max(1, needed - 1), false_rejects)
    assert enough.expected_false_rejects <= false_rejects
    assert enough.images_missing == 0
    assert not enough.warnings()
    if needed > 1:
        assert short.expected_false_rejects > false_rejects
        assert "1 more than there are" in short.warnings()[0]


@pytest.mark.parametrize(("false_rejects", "needed"), [(0.01, 299), (0.005, 598), (0.1, 29)])
def test_images_needed_to_be_sure(false_rejects: float, needed: int) -> None:
    # (1 − α)ⁿ ≤ 5 %: that none of n is among the α highest scores must be that unlikely.
    assert Budget(false_rejects, 0.95).images_needed == needed
    assert (1 - false_rejects) ** needed <= 0.05 < (1 - false_rejects) ** (needed - 1)


@given(st.integers(1, 500), st.floats(0.001, 0.5), st.floats(0.5, 0.99))
def test_to_be_sure_takes_the_largest_rank_that_is(
    count: int, false_rejects: float, confidence: float
) -> None:
    budget = Budget(false_rejects, confidence)
    rank = budget.rank(count)
    assert rank <= Budget(false_rejects).rank(count) or confidence < 0.6
    if count >= budget.images_needed:
        assert confidence_at_rank(rank, count, false_rejects) >= confidence - 1e-9
    else:
        assert rank == 1


def simulate(budget: Budget, count: int, draws: int = 2000) -> np.ndarray:
    """The fraction of good parts beyond the threshold, in each of many sets of good images.

    Scores uniform in 0…1.
    """
    rng = np.random.default_rng(0)
    thresholds = [
        Calibration(scores, scores, budget).threshold for scores in rng.random((draws, count))
    ]
    return 1 - np.array(thresholds)


@pytest.mark.parametrize(
    ("false_rejects", "count"), [(0.01, 200), (0.05, 150), (0.1, 99), (0.2, 33)]
)
def test_the_false_reject_rate_is_kept_on_average(false_rejects: float, count: int) -> None:
    realised = simulate(Budget(false_rejects), count)
    expected = Budget(false_rejects).rank(count) / (count + 1)
    assert expected <= false_rejects
    error = realised.std() / np.sqrt(len(realised))
    assert abs(realised.mean() - expected) < 4 * error


@pytest.mark.parametrize(
    ("false_rejects", "count"), [(0.01, 500), (0.05, 150), (0.1, 99), (0.2, 33)]
)
def test_95_percent_sure_holds_in_95_percent_of_the_sets(false_rejects: float, count: int) -> None:
    realised = simulate(Budget(false_rejects, confidence=0.95), count)
    error = np.sqrt(0.95 * 0.05 / len(realised))
    assert np.mean(realised <= false_rejects) >= 0.95 - 3 * error
    # Not more cautious than ranks make it: the next one would not do.
    rank = Budget(false_rejects, 0.95).rank(count)
    assert confidence_at_rank(rank + 1, count, false_rejects) < 0.95


@pytest.mark.parametrize("count", [50, 500])
def test_the_bound_of_any_threshold_holds_as_often_as_it_says(count: int) -> None:
    realised = simulate(Budget(0.05), count)
    bound = false_reject_upper_bound(Budget(0.05).rank(count), count)
    assert np.mean(realised <= bound) == pytest.approx(0.95, abs=3 * np.sqrt(0.95 * 0.05 / 2000))


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=60), st.floats(0.01, 0.9))
def test_what_is_rejected_has_a_p_value_within_the_budget(
    scores: list[float], false_rejects: float
) -> None:
    calibration = Calibration(np.array(scores), np.array(scores), Budget(false_rejects))
    for score in [*scores, 0.0, 1000.0]:
        p_value = calibration.p_value(score)
        assert 1 / (len(scores) + 1) <= p_value <= 1
        if calibration.rejects(score):
            assert p_value <= calibration.expected_false_rejects + 1e-12
        elif score > max(scores):
            pytest.fail("what is odder than all good parts is rejected")


def test_no_distance_at_all_is_no_reject() -> None:
    calibration = Calibration(np.zeros(10), np.zeros(10), Budget(0.1))
    assert not calibration.rejects(1e-6)
    assert calibration.p_value(1e-6) == 1


@pytest.mark.parametrize("fraction", [0, 1, 2, -0.1, float("nan")])
def test_budgets_that_cannot_be(fraction: float) -> None:
    with pytest.raises(OptionError, match="not between 0 and 1"):
        Budget(fraction)
    with pytest.raises(OptionError, match="not between 0 and 1"):
        Budget(0.1, confidence=fraction)


def test_the_guarantee_says_where_its_scores_come_from() -> None:
    calibration = calibrate(299, 0.01, confidence=0.95)
    assert "at most 1.00%, 95% sure" in calibration.guarantees()[1]
    assert "nearly" in calibration.guarantees()[2]
    assert "that the model was not fitted on" in replace(calibration, exact=True).guarantees()[2]


def test_what_new_groups_lose_is_bounded_by_what_is_said() -> None:
    """Images of one group are alike, so that few groups say less than their images would."""
    rng = np.random.default_rng(0)
    said, true = [], []
    for _ in range(400):
        level = rng.normal(10, 1, 21).repeat(10)
        scores = level + rng.normal(0, 0.3, level.size)
        names = tuple(str(number) for number in range(20) for _ in range(10))
        calibration = Calibration(scores[:200], scores[:200], Budget(0.05), groups=names)
        true.append((scores[200:] > calibration.threshold).mean())
        found = re.search(r"expect up to ([\d.]+)%", calibration.warnings()[0])
        assert found
        said.append(float(found[1]) / 100)
    # The budget alone would be too little: 5 % by rank among images.
    assert 0.05 < np.mean(true) <= np.mean(said) < 0.12


def test_groups_that_differ_are_reported() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(10, 1, 120)
    alike = Calibration(scores, scores, Budget(0.05), groups=("mon", "tue", "wed") * 40)
    assert len(alike.warnings()) == 1
    shifted = scores + 2 * np.array([0, 0, 1] * 40)
    differing = Calibration(
        shifted, shifted, Budget(0.05), groups=("mon", "tue", "wed") * 40
    ).warnings()
    assert "3 groups" in differing[0]
    assert "wed scores highest" in differing[1]


def test_a_saved_calibration_comes_back() -> None:
    calibration = replace(calibrate(50, 0.1, 0.9), groups=("a", "b") * 25, exact=True)
    again = calibration_from_arrays(calibration.settings, calibration.to_arrays())
    assert again.budget == calibration.budget
    assert (again.exact, again.groups) == (True, calibration.groups)
    assert again.threshold == calibration.threshold
