from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flawmap.errors import OptionError
from flawmap.metrics.feasible import feasible_ratios
from flawmap.metrics.ranking import auroc, best_f1, count_scores, f1_by_threshold

HALF_A_DIGIT = 0.00005
"""What rounding to two decimals of a percent may have changed."""


def test_golden_numbers() -> None:
    # They allow for the rounding of the AUROC and take F1 as printed.
    padim = feasible_ratios(0.7018, 0.8935, auroc_within=HALF_A_DIGIT)
    assert padim.any_threshold.low == pytest.approx(1.2507, abs=5e-5)
    assert padim.best_f1.high == pytest.approx(4.1948, abs=5e-5)
    all_channels = feasible_ratios(0.9975, 0.9585, auroc_within=HALF_A_DIGIT)
    assert all_channels.best_f1.high == pytest.approx(0.7390, abs=5e-5)
    assert all_channels.any_threshold.low == 0


@pytest.mark.parametrize(
    ("percent", "prevalence"),
    [((93.33, 82.78), 0.522), ((97.35, 91.37), 0.639), ((99.92, 98.94), 0.791)],
)
def test_defect_prevalences_behind_published_pairs(
    percent: tuple[float, float], prevalence: float
) -> None:
    ratio = feasible_ratios(
        percent[0] / 100, percent[1] / 100, auroc_within=HALF_A_DIGIT
    ).best_f1.high
    assert ratio / (1 + ratio) == pytest.approx(prevalence, abs=5e-4)


@given(st.floats(0, 0.999), st.floats(0.01, 0.99))
def test_the_bound_at_any_threshold_is_the_least_over_all_miss_rates(
    area: float, f1: float
) -> None:
    c = 2 / f1 - 2
    end = c / (1 + c)
    # Just above the area where any ratio will do, the least is at almost all defects missed.
    missed = np.append(np.linspace(0, end, 2001)[:-1], end * (1 - np.geomspace(1e-2, 1e-9, 200)))
    least = ((1 - area / (1 - missed)) / (c - (1 + c) * missed)).min()
    low = feasible_ratios(area, f1).any_threshold.low
    assert max(0, least) == pytest.approx(low, rel=1e-6, abs=1e-9) or (low == 0 and least < 1e-2)


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Scores of any quality, some with many ties, and labels of both classes in any ratio."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    good, defective = (int(3 ** rng.uniform(0, 5)) for _ in range(2))
    labels = np.repeat([0, 1], [good, defective])
    scores = rng.normal(labels * rng.choice([-1, 0, 0.5, 1, 2, 4]), rng.uniform(0.2, 2, 2)[labels])
    return np.round(scores, int(rng.integers(0, 4))), labels


@settings(max_examples=300)
@given(scored())
def test_no_list_of_scores_breaks_a_bound(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    scores, labels = drawn
    counts = count_scores(scores, labels)
    ratio, area = counts.defective.sum() / counts.good.sum(), float(auroc(counts))
    f1s = f1_by_threshold(counts)
    for f1 in f1s:
        assert ratio in feasible_ratios(area, float(f1)).any_threshold
    assert ratio in feasible_ratios(area, float(best_f1(counts))).best_f1
    # Youden's threshold may also be above all scores, where nothing is rejected.
    caught = np.append(np.cumsum((counts.defective / counts.defective.sum())[::-1])[::-1], 0)
    alarms = np.append(np.cumsum((counts.good / counts.good.sum())[::-1])[::-1], 0)
    best = np.argmax(np.round(caught - alarms, 12))
    assert ratio in feasible_ratios(area, float(np.append(f1s, 0)[best])).youden


def ranked(good_above: np.ndarray, good: int) -> tuple[float, float, np.ndarray]:
    """AUROC, ratio and F1 by threshold of defects with given numbers of good ones above."""
    scores = np.concatenate([np.arange(good), good - good_above - 0.5])
    labels = np.repeat([0, 1], [good, len(good_above)])
    counts = count_scores(scores, labels)
    return float(auroc(counts)), len(good_above) / good, f1_by_threshold(counts)


def test_the_bound_at_any_threshold_is_reached() -> None:
    area, ratio, f1s = ranked(np.full(300, 20), 100)
    assert feasible_ratios(area, f1s.max()).any_threshold.low == pytest.approx(ratio)


def test_the_bounds_at_the_best_f1_are_reached() -> None:
    area, ratio, f1s = ranked(np.full(30, 100), 100)
    assert feasible_ratios(area, f1s.max()).best_f1.high == pytest.approx(ratio), (
        "all defects score lowest: reject all"
    )
    # A curve along the line TPR = (1 + FPR/ρ)/(1 + c), for c = 0.2 and ρ = 1.
    c, ratio, good = 0.2, 1.0, 20_000
    fraction = (np.arange(good) + 1) / good
    area, ratio, f1s = ranked(np.ceil(good * np.maximum(0, ratio * ((1 + c) * fraction - 1))), good)
    assert feasible_ratios(area, f1s.max()).best_f1.high == pytest.approx(ratio, rel=1e-2)


def test_the_bound_at_youdens_threshold_is_reached() -> None:
    # A curve along TPR = FPR + 0.9; its loss of 0.1 is all false alarms where the line ends.
    good, loss = 20_000, 0.1
    fraction = (np.arange(good) + 1) / good
    area, ratio, _ = ranked(np.ceil(good * np.maximum(0, fraction - (1 - loss)))[::2], good)
    f1 = 2 / (2 + loss / ratio)
    assert feasible_ratios(area, f1).youden.high == pytest.approx(ratio, rel=1e-2)


def test_figures_at_the_ends() -> None:
    assert not any(ratios.empty for ratios in feasible_ratios(1.0, 1.0))
    assert all(ratios.empty for ratios in feasible_ratios(0.9, 1.0)), (
        "without an error the AUROC is 1"
    )
    perfect = feasible_ratios(1.0, 0.9)
    assert [ratios.empty for ratios in perfect] == [False, True, True], (
        "a perfect order has better thresholds"
    )
    assert [ratios.empty for ratios in feasible_ratios(0.9, 0.0)] == [False, True, True]
    assert not feasible_ratios(0.4, 0.0).youden.empty, (
        "worse than chance, Youden's threshold may reject nothing"
    )
    assert 1.0 not in feasible_ratios(0.9, 1.0).any_threshold
    assert feasible_ratios(1 - 1e-16, 1 - 1e-16) == feasible_ratios(1.0, 1.0)


def test_a_rounded_computation_is_not_taken_for_a_worse_area() -> None:
    # One defect of seven scores lowest, the others highest: at the threshold between, A = F1/(2 −
    # F1) = 6/7 exactly.
    assert 0.1 in feasible_ratios(0.8571428571428571, 0.9230769230769231).any_threshold
    # Youden's loss of 1/3 is a third of the defects missed, and no good part rejected.
    assert 100.0 in feasible_ratios(1 - 1 / 18, 0.8).youden


def test_rounding_only_widens() -> None:
    exact, rounded = (
        feasible_ratios(0.95, 0.9),
        feasible_ratios(0.95, 0.9, auroc_within=0.001, f1_within=0.001),
    )
    for one, other in zip(exact, rounded, strict=True):
        assert other.low <= one.low
        assert other.high >= one.high
    assert rounded.best_f1.high > exact.best_f1.high
    assert not feasible_ratios(1.0, 0.95, auroc_within=HALF_A_DIGIT).best_f1.empty
    assert feasible_ratios(1.0, 0.95, auroc_within=0.5).any_threshold.high == math.inf


@pytest.mark.parametrize(
    ("area", "f1", "said"),
    [(1.1, 0.5, "AUROC is 1.1"), (0.5, -1, "F1 is -1"), (math.nan, 1, "AUROC is nan")],
)
def test_figures_that_cannot_be(area: float, f1: float, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        feasible_ratios(area, f1)
