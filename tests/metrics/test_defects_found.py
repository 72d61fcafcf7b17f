from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from flawmap.metrics.defects_found import (
    OPERATING_POINTS,
    OperatingPoint,
    defects_found,
    missing_reasons,
    without_operating_points,
)
from flawmap.metrics.metric import Metric
from flawmap.runtime.calibration import Budget, Calibration
from helpers import interval_of, value_of

CALIBRATED = {point.budget: point for point in OPERATING_POINTS if point.source == "calibrated"}
BY_RANK = {point.budget: point for point in OPERATING_POINTS if point.source == "by rank"}
BUDGETS = pytest.mark.parametrize("budget", [0.01, 0.05])
DEFAULT = Budget()


def calibrated_on(scores: np.ndarray, budget: Budget = DEFAULT) -> Calibration:
    return Calibration(scores, np.ones(len(scores)), budget)


def drawn(num_good: int, num_defective: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    labels = np.repeat([0, 1], [num_good, num_defective])
    return np.random.default_rng(seed).normal(5 + 2.5 * labels, 1).clip(0.1), labels


ENOUGH = calibrated_on(np.random.default_rng(0).normal(5, 1, 300).clip(0.1))


class Case(NamedTuple):
    """A test set and a calibration with ties everywhere."""

    scores: np.ndarray
    labels: np.ndarray
    calibration: Calibration


def make_case(num_good: int, num_defective: int, num_calibration: int, seed: int) -> Case:
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], [num_good, num_defective])
    scores = rng.integers(1, 30 + 15 * labels).astype(float)
    return Case(scores, labels, calibrated_on(rng.integers(1, 30, num_calibration).astype(float)))


SIZES = st.tuples(
    st.integers(99, 260), st.integers(1, 40), st.integers(99, 260), st.integers(0, 999)
)
some = settings(max_examples=25)


def found_by_loop(good: np.ndarray, defective: np.ndarray, budget: float) -> float:
    """Share of the defective scores above the k-th largest of the good ones, without an index."""
    rank = math.floor(budget * (len(good) + 1) + 1e-9)
    hits = 0
    for score in defective:
        at_least = sum(1 for other in good if other >= score)
        hits += at_least < rank
    return hits / len(defective)


@some
@given(SIZES)
def test_agrees_with_a_plain_loop(sizes: tuple[int, int, int, int]) -> None:
    scores, labels, calibration = make_case(*sizes)
    metrics = defects_found(scores, labels, calibration)
    good, defective = scores[labels == 0], scores[labels == 1]
    for budget in (0.01, 0.05):
        by_rank, calibrated = BY_RANK[budget], CALIBRATED[budget]
        assert metrics[by_rank.defects_found].value == found_by_loop(good, defective, budget)
        expected = found_by_loop(calibration.scores, defective, budget)
        assert metrics[calibrated.defects_found].value == expected
        expected = found_by_loop(calibration.scores, good, budget)
        assert metrics[calibrated.false_rejects].value == expected


@some
@given(SIZES)
def test_a_larger_budget_never_finds_less(sizes: tuple[int, int, int, int]) -> None:
    metrics = defects_found(*make_case(*sizes))
    for points in (BY_RANK, CALIBRATED):
        for name in ("defects_found", "false_rejects"):
            smaller, larger = (metrics[getattr(points[budget], name)] for budget in (0.01, 0.05))
            assert value_of(smaller) <= value_of(larger)


@some
@given(SIZES)
def test_only_the_order_of_scores_counts(sizes: tuple[int, int, int, int]) -> None:
    scores, labels, calibration = make_case(*sizes)
    moved = calibrated_on(np.exp(calibration.scores / 10))
    assert defects_found(np.exp(scores / 10), labels, moved) == defects_found(*make_case(*sizes))


@some
@given(SIZES)
def test_values_do_not_depend_on_the_order_of_images(sizes: tuple[int, int, int, int]) -> None:
    scores, labels, calibration = make_case(*sizes)
    order = np.random.default_rng(len(scores)).permutation(len(scores))
    metrics = defects_found(scores, labels, calibration)
    shuffled = defects_found(scores[order], labels[order], calibration)
    assert {name: metric.value for name, metric in shuffled.items()} == {
        name: metric.value for name, metric in metrics.items()
    }


@some
@given(SIZES)
def test_no_more_test_goods_than_the_budget_are_above_the_rank(
    sizes: tuple[int, int, int, int],
) -> None:
    """As many images labelled defective, with the scores of the good ones, tell which are above."""
    scores, labels, calibration = make_case(*sizes)
    good = scores[labels == 0]
    mirrored = np.concatenate([good, good])
    metrics = defects_found(mirrored, np.repeat([0, 1], len(good)), calibration)
    for budget, point in BY_RANK.items():
        assert value_of(metrics[point.defects_found]) <= budget


@pytest.mark.parametrize(
    ("num_good", "available"), [(0, []), (18, []), (19, [0.05]), (98, [0.05]), (99, [0.01, 0.05])]
)
def test_the_fewest_good_images_for_a_rank(num_good: int, available: list[float]) -> None:
    metrics = defects_found(*drawn(num_good, 10), ENOUGH)
    for budget, point in BY_RANK.items():
        needed = {0.01: 99, 0.05: 19}[budget]
        reason = f"{100 * budget:g} % takes {needed} good test images; there are {num_good}"
        for name in (point.defects_found, point.false_rejects):
            if budget in available:
                assert metrics[name].value is not None
            else:
                expected = reason if num_good else "no good test images"
                assert metrics[name] == Metric(unavailable=expected)


@pytest.mark.parametrize(
    ("num_good", "available"), [(1, []), (18, []), (19, [0.05]), (98, [0.05]), (99, [0.01, 0.05])]
)
def test_the_fewest_good_images_for_a_calibrated_threshold(
    num_good: int, available: list[float]
) -> None:
    metrics = defects_found(*drawn(20, 10), calibrated_on(np.arange(1.0, num_good + 1)))
    for budget, point in CALIBRATED.items():
        for name in (point.defects_found, point.false_rejects):
            assert (metrics[name].value is not None) == (budget in available)
            if budget not in available:
                assert "good images to calibrate on" in metrics[name].unavailable
                assert f"there are {num_good}" in metrics[name].unavailable


@BUDGETS
def test_with_the_fewest_images_what_beats_the_highest_good_score_is_found(budget: float) -> None:
    num_good = {0.01: 99, 0.05: 19}[budget]
    good = np.arange(1.0, num_good + 1)
    scores = np.concatenate([good, [good[-1] - 0.5, good[-1], good[-1] + 0.5, good[-1] + 1]])
    labels = np.repeat([0, 1], [num_good, 4])
    metrics = defects_found(scores, labels, calibrated_on(good))
    assert metrics[BY_RANK[budget].defects_found].value == 0.5
    assert metrics[CALIBRATED[budget].defects_found].value == 0.5
    assert metrics[CALIBRATED[budget].false_rejects].value == 0


def test_all_scores_equal_find_nothing_and_reject_nothing() -> None:
    labels = np.repeat([0, 1], [120, 30])
    metrics = defects_found(np.ones(150), labels, calibrated_on(np.ones(120)))
    for point in OPERATING_POINTS:
        assert metrics[point.defects_found].value == 0
    for point in CALIBRATED.values():
        assert metrics[point.false_rejects].value == 0


def test_without_defects_the_good_parts_rejected_are_still_told() -> None:
    metrics = defects_found(*drawn(120, 0), ENOUGH)
    for point in OPERATING_POINTS:
        assert metrics[point.defects_found] == Metric(unavailable="no defective test images")
        assert metrics[point.false_rejects].value is not None


def test_without_good_images_the_calibrated_threshold_still_tells_what_is_found() -> None:
    metrics = defects_found(*drawn(0, 30), ENOUGH)
    for point in CALIBRATED.values():
        assert metrics[point.defects_found].value is not None
        assert metrics[point.false_rejects] == Metric(unavailable="no good test images")
    assert missing_reasons(metrics) == ["no good test images"]


def test_no_images_at_all() -> None:
    metrics = defects_found(*drawn(0, 0), ENOUGH)
    assert all(metric.value is None and metric.unavailable for metric in metrics.values())


def test_the_budget_of_the_inspector_changes_nothing() -> None:
    scores, labels = drawn(120, 60)
    strict = calibrated_on(ENOUGH.scores, Budget(0.003, confidence=0.9))
    assert defects_found(scores, labels, strict) == defects_found(scores, labels, ENOUGH)


@BUDGETS
def test_intervals_of_the_calibrated_threshold_are_exact(budget: float) -> None:
    scores, labels = drawn(191, 80)
    metrics = defects_found(scores, labels, ENOUGH)
    threshold = np.sort(ENOUGH.scores)[-math.floor(budget * 301)]
    for name, label in (("defects_found", 1), ("false_rejects", 0)):
        metric = metrics[getattr(CALIBRATED[budget], name)]
        hits = int(np.sum(scores[labels == label] > threshold))
        expected = binomtest(hits, int(np.sum(labels == label))).proportion_ci(0.95, method="exact")
        assert interval_of(metric) == pytest.approx((expected.low, expected.high))


@BUDGETS
def test_the_interval_by_rank_is_reproducible_and_spans_the_value(budget: float) -> None:
    scores, labels = drawn(191, 80)
    metrics = defects_found(scores, labels, ENOUGH)
    low, high = interval_of(metrics[BY_RANK[budget].defects_found])
    assert 0 <= low < value_of(metrics[BY_RANK[budget].defects_found]) < high <= 1
    assert metrics == defects_found(scores, labels, ENOUGH)


def test_the_interval_by_rank_covers_the_share_at_the_true_quantile() -> None:
    """60 draws of 200 good and 100 defective images, where 5 % is the tenth largest score."""
    from scipy.stats import norm

    point, true_share = BY_RANK[0.05], norm.sf(norm.isf(0.05) - 2.5)
    covered = 0
    for seed in range(60):
        scores, labels = drawn(200, 100, seed)
        low, high = interval_of(defects_found(scores, labels, ENOUGH)[point.defects_found])
        covered += low <= true_share <= high
    assert covered >= 0.9 * 60


@BUDGETS
def test_false_rejects_by_rank_are_those_of_new_good_parts(budget: float) -> None:
    """In 4,000 draws: their mean, and how often they are below either end of the interval."""
    num_good, rng = 191, np.random.default_rng(1)
    rank = math.floor(budget * 192)
    shares = 1 - np.sort(rng.uniform(size=(4000, num_good)), axis=1)[:, -rank]
    metric = defects_found(*drawn(num_good, 5), ENOUGH)[BY_RANK[budget].false_rejects]
    assert value_of(metric) == rank / 192 <= budget
    assert np.mean(shares) == pytest.approx(value_of(metric), rel=0.05)
    low, high = interval_of(metric)
    assert np.mean(shares < low) == pytest.approx(0.025, abs=0.01)
    assert np.mean(shares < high) == pytest.approx(0.975, abs=0.01)


def test_the_operating_points_are_told_from_other_metrics() -> None:
    metrics = defects_found(*drawn(120, 30), ENOUGH)
    assert len(metrics) == 8
    assert missing_reasons(metrics) == []
    assert without_operating_points({**metrics, "F1 max": Metric(0.9)}) == {"F1 max": Metric(0.9)}
    names = OperatingPoint(0.01, "calibrated")
    assert names.defects_found == "defects found at 1 % false rejects, calibrated"
    assert names.false_rejects == "false rejects at 1 %, calibrated"
