from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from flawmap.metrics.images import confusion_counts, image_metrics
from helpers import interval_of

RNG = np.random.default_rng(0)
LABELS = np.repeat([0, 1], [40, 60])
SCORES = RNG.normal(LABELS, 0.7)
REJECTED = SCORES > 1


def test_all_metrics_have_values_and_intervals() -> None:
    metrics = image_metrics(SCORES, LABELS, REJECTED)
    for name, metric in metrics.items():
        assert metric.value is not None, name
        assert not metric.unavailable
        if metric.low is not None:
            low, high = interval_of(metric)
            assert 0 <= low <= metric.value <= high <= 1, name
    assert metrics["F1 at the threshold"].value == pytest.approx(f1_score(LABELS, REJECTED))
    assert metrics["F1 of rejecting all"].value == pytest.approx(2 * 0.6 / 1.6)


def test_the_same_seed_gives_the_same_interval() -> None:
    assert image_metrics(SCORES, LABELS, REJECTED) == image_metrics(SCORES, LABELS, REJECTED)


@pytest.mark.parametrize(
    ("label", "missing"), [(0, "no defective test images"), (1, "no good test images")]
)
def test_with_one_class_metrics_are_unavailable_with_a_reason(label: int, missing: str) -> None:
    metrics = image_metrics(SCORES[:5], np.full(5, label), REJECTED[:5])
    assert metrics["image AUROC"].unavailable == metrics["F1 max"].unavailable == missing
    assert metrics["image AUROC"].to_dict() == {"unavailable": missing}
    rate = metrics["false reject rate (FPR)" if label == 0 else "miss rate (FNR)"]
    assert rate.value is not None


def test_no_images_at_all() -> None:
    metrics = image_metrics(SCORES[:0], LABELS[:0], REJECTED[:0])
    assert all(metric.value is None and metric.unavailable for metric in metrics.values())


def test_all_scores_equal() -> None:
    metrics = image_metrics(np.ones(100), LABELS, np.zeros(100, bool))
    assert metrics["image AUROC"].value == 0.5
    assert metrics["F1 max"].value == metrics["F1 of rejecting all"].value
    assert metrics["FPR at 95 % recall"].value == 1
    assert metrics["F1 at the threshold"].value == 0


def test_the_interval_of_a_proportion_is_exact_at_its_end() -> None:
    metric = image_metrics(SCORES, LABELS, np.zeros(100, bool))["false reject rate (FPR)"]
    assert (metric.value, metric.low) == (0, 0)
    # The rule of Clopper and Pearson: (1 − high)⁴⁰ = 2.5 %.
    assert metric.high == pytest.approx(1 - 0.025 ** (1 / 40))


def test_confusion() -> None:
    counts = confusion_counts(LABELS, REJECTED)
    assert sum(counts.values()) == 100
    assert counts["TP"] == np.sum(REJECTED[40:])
    assert counts["FP"] == np.sum(REJECTED[:40])
    f1 = image_metrics(SCORES, LABELS, REJECTED)["F1 at the threshold"].value
    assert f1 == pytest.approx(2 * counts["TP"] / (2 * counts["TP"] + counts["FP"] + counts["FN"]))
