from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import f1_score, roc_auc_score

from flawmap.metrics.ranking import PixelTally, auroc, average_precision, best_f1, f1_of, trivial_f1

SCORES = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])
LABELS = np.array([1, 1, 0, 1, 0, 0, 1])

few_scores = arrays.arrays(np.float64, 30, elements=st.integers(0, 8).map(float))
both_labels = arrays.arrays(np.int64, 30, elements=st.integers(0, 1)).filter(lambda labels: 0 < labels.sum() < 30)


def test_golden() -> None:
    best = best_f1(SCORES, LABELS)
    assert best is not None
    assert (best.f1, best.threshold) == (0.75, 0.6)
    assert auroc(SCORES, LABELS) == pytest.approx(0.666667, abs=1e-6)


@given(few_scores, both_labels)
def test_best_f1_is_the_best_of_all_thresholds_ties_and_all(scores: np.ndarray, labels: np.ndarray) -> None:
    best = best_f1(scores, labels)
    by_hand = max(f1_score(labels, scores >= threshold) for threshold in np.unique(scores))
    assert best is not None
    assert best.f1 == pytest.approx(by_hand)
    assert f1_of(scores >= best.threshold, labels) == pytest.approx(by_hand)


@given(few_scores, both_labels)
def test_f1_of_verdicts(scores: np.ndarray, labels: np.ndarray) -> None:
    assert f1_of(scores > 4, labels) == pytest.approx(f1_score(labels, scores > 4, zero_division=0))


def test_trivial_f1_follows_from_the_share() -> None:
    share = LABELS.mean()
    assert trivial_f1(LABELS) == pytest.approx(2 * share / (1 + share))


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_alone_has_no_ranking(label: int) -> None:
    labels = np.full(7, label)
    assert auroc(SCORES, labels) is None
    assert average_precision(SCORES, labels) is None
    assert best_f1(SCORES, labels) is None


def test_pixels_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    masks = rng.random((5, 60, 80)) < 0.05
    maps = rng.gamma(3, size=masks.shape).astype(np.float32) + masks
    tally = PixelTally()
    for heatmap, mask in zip(maps, masks, strict=True):
        tally.add(heatmap, mask)
    assert tally.auroc() == pytest.approx(roc_auc_score(masks.ravel(), maps.ravel()), abs=1e-6)


def test_equal_pixels_count_half() -> None:
    tally = PixelTally()
    tally.add(np.ones((4, 4), np.float32), np.eye(4, dtype=bool))
    assert tally.auroc() == 0.5


def test_pixels_of_one_class() -> None:
    tally = PixelTally()
    tally.add(np.ones((4, 4), np.float32), np.zeros((4, 4), bool))
    assert tally.auroc() is None
