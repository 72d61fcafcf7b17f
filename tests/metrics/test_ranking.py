from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from flawmap.metrics.ranking import (
    auroc,
    average_precision,
    best_f1,
    count_scores,
    false_positive_rate,
    per_region_overlap,
    recall_above_rank,
    reject_all_f1,
)

GOLDEN_SCORES = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])
GOLDEN_LABELS = np.array([1, 1, 0, 1, 0, 0, 1])


def test_golden_numbers() -> None:
    counts = count_scores(GOLDEN_SCORES, GOLDEN_LABELS)
    assert best_f1(counts) == 0.75
    assert auroc(counts) == pytest.approx(0.666667, abs=1e-6)


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Scores with many ties, and labels of both classes."""
    labels = [0, 1, *draw(st.lists(st.integers(0, 1), max_size=60))]
    scores = draw(st.lists(st.integers(0, 12), min_size=len(labels), max_size=len(labels)))
    return np.array(scores, float), np.array(labels)


@given(scored())
def test_agrees_with_scikit_learn_ties_included(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    scores, labels = drawn
    counts = count_scores(scores, labels)
    assert auroc(counts) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert average_precision(counts) == pytest.approx(
        average_precision_score(labels, scores), abs=1e-12
    )
    precision, recall, _ = precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    assert best_f1(counts) == pytest.approx(f1.max(), abs=1e-12)
    assert reject_all_f1(counts) == pytest.approx(f1_score(labels, np.ones(len(labels))), abs=1e-12)
    rates, recalls, _ = roc_curve(labels, scores, drop_intermediate=False)
    assert false_positive_rate(counts) == pytest.approx(
        rates[recalls >= 0.95 - 1e-12].min(), abs=1e-12
    )


@given(scored(), st.integers(0, 5))
def test_weights_count_an_image_as_often_as_they_say(
    drawn: tuple[np.ndarray, np.ndarray], seed: int
) -> None:
    scores, labels = drawn
    weights = 1 + np.random.default_rng(seed).multinomial(
        len(labels), np.full(len(labels), 1 / len(labels)), 3
    )
    values = np.asarray(auroc(count_scores(scores, labels, weights)))
    for row, value in zip(weights, values, strict=True):
        assert value == pytest.approx(
            roc_auc_score(np.repeat(labels, row), np.repeat(scores, row)), abs=1e-12
        )


@given(scored(), st.data())
def test_recall_above_a_rank_agrees_with_a_plain_loop(
    drawn: tuple[np.ndarray, np.ndarray], data: st.DataObject
) -> None:
    scores, labels = drawn
    good = sorted(scores[labels == 0].tolist(), reverse=True)
    defective = scores[labels == 1].tolist()
    rank = data.draw(st.integers(1, len(good)))
    hits = 0
    for score in defective:
        hits += score > good[rank - 1]
    assert recall_above_rank(count_scores(scores, labels), rank) == hits / len(defective)


@given(scored(), st.integers(0, 5))
def test_recall_above_a_rank_of_resamples(drawn: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    """Weights, some of them 0, count as so many copies of an image."""
    scores, labels = drawn
    weights = np.random.default_rng(seed).integers(0, 4, (3, len(labels)))
    weights[:, :2] += 1  # at least one of both classes
    values = np.asarray(recall_above_rank(count_scores(scores, labels, weights), 1))
    for row, value in zip(weights, values, strict=True):
        copies, truths = np.repeat(scores, row), np.repeat(labels, row)
        highest = copies[truths == 0].max()
        assert value == pytest.approx(np.mean(copies[truths == 1] > highest))


def test_a_map_that_ranks_every_defective_pixel_first_has_an_aupro_of_one() -> None:
    assert per_region_overlap(np.array([9.0, 0.0]), np.array([0.0, 2.0])) == pytest.approx(1)


def test_a_map_that_says_nothing_has_an_aupro_of_half_the_limit() -> None:
    assert per_region_overlap(np.array([9.0]), np.array([2.0]), limit=0.3) == pytest.approx(0.15)
    assert per_region_overlap(np.array([9.0]), np.array([2.0]), limit=1.0) == pytest.approx(0.5)


def test_aupro_of_two_regions_by_hand() -> None:
    # Thresholds 3, 2, 1: the small region of one pixel is found first, then half of the large one
    # at 10 % false positives, the rest at 100 %. Up to 30 %: a step to 1/2, a line to 3/4 at 0.1, a
    # line to 1 at 1.
    good, covered = np.array([9.0, 1.0, 0.0]), np.array([0.5, 0.5, 1.0])
    at_limit = 0.75 + 0.25 * 0.2 / 0.9
    by_hand = 0.1 * (0.5 + 0.75) / 2 + 0.2 * (0.75 + at_limit) / 2
    assert per_region_overlap(good, covered) == pytest.approx(by_hand / 0.3)
