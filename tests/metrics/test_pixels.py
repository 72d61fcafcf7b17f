from __future__ import annotations

import cv2
import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from flawmap.metrics.pixels import PixelCounts, pixel_metrics
from helpers import interval_of


def draw(seed: int, count: int = 6, side: int = 48) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Heat maps and masks; every other image has defects, some touching at a corner."""
    rng = np.random.default_rng(seed)
    heatmaps, masks = [], []
    for number in range(count):
        mask = np.zeros((side, side), np.uint8)
        if number % 2:
            for _ in range(int(rng.integers(1, 5))):
                row, column = rng.integers(4, side - 4, 2)
                cv2.circle(mask, (int(column), int(row)), int(rng.integers(1, 5)), 1, -1)
            mask[0, 0] = mask[1, 1] = 1
        smooth = cv2.GaussianBlur(rng.random((side, side)), (0, 0), 2)
        heatmaps.append(
            (np.abs(smooth + 0.05 * mask + 0.02 * rng.standard_normal((side, side)))).astype(
                np.float32
            )
        )
        masks.append(mask.astype(bool))
    return heatmaps, masks


def count(heatmaps: list[np.ndarray], masks: list[np.ndarray]) -> PixelCounts:
    counted = PixelCounts()
    for heatmap, mask in zip(heatmaps, masks, strict=True):
        counted.add(heatmap, mask)
    return counted


def brute_force_aupro(
    heatmaps: list[np.ndarray], masks: list[np.ndarray], limit: float = 0.3
) -> float:
    """Every distinct value is a threshold, every region is looked at under each.

    No code shared with flawmap.
    """
    good = np.sort(np.concatenate([h[~m] for h, m in zip(heatmaps, masks, strict=True)]))
    regions = []
    for heatmap, mask in zip(heatmaps, masks, strict=True):
        number, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        regions += [np.sort(heatmap[labels == n]) for n in range(1, number)]
    thresholds = np.unique(np.concatenate(heatmaps, axis=None))[::-1]
    rates, overlaps = [0.0], [0.0]
    for threshold in thresholds:
        rates.append(1 - np.searchsorted(good, threshold) / len(good))
        overlaps.append(
            np.mean([1 - np.searchsorted(values, threshold) / len(values) for values in regions])
        )
    inside = np.searchsorted(rates, limit, side="right")
    ends = [*rates[:inside], limit], [*overlaps[:inside], np.interp(limit, rates, overlaps)]
    return float(np.trapezoid(ends[1], ends[0]) / limit)


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_scikit_learn_and_with_brute_force(seed: int) -> None:
    heatmaps, masks = draw(seed)
    metrics = pixel_metrics(count(heatmaps, masks))
    scores, labels = np.concatenate(heatmaps, axis=None), np.concatenate(masks, axis=None)
    precision, recall, _ = precision_recall_curve(labels, scores)
    expected = {
        "pixel AUROC": roc_auc_score(labels, scores),
        "pixel AP": average_precision_score(labels, scores),
        "pixel F1 max": (2 * precision * recall / np.maximum(precision + recall, 1e-300)).max(),
        "AUPRO": brute_force_aupro(heatmaps, masks),
    }
    for name, value in expected.items():
        # Two of these 14,000 pixels that share a level move the average precision more than they
        # would among millions.
        assert metrics[name].value == pytest.approx(value, abs=1e-5), name


def test_agrees_to_a_millionth_where_values_need_no_rounding() -> None:
    heatmaps, masks = draw(9, count=12)
    heatmaps = [(np.round(heatmap * 4096) / 4096).astype(np.float32) for heatmap in heatmaps]
    metrics = pixel_metrics(count(heatmaps, masks))
    scores, labels = np.concatenate(heatmaps, axis=None), np.concatenate(masks, axis=None)
    assert metrics["pixel AUROC"].value == pytest.approx(roc_auc_score(labels, scores), abs=1e-6)
    assert metrics["pixel AP"].value == pytest.approx(
        average_precision_score(labels, scores), abs=1e-6
    )
    assert metrics["AUPRO"].value == pytest.approx(brute_force_aupro(heatmaps, masks), abs=1e-6)


def test_intervals_hold_their_value() -> None:
    for name, metric in pixel_metrics(count(*draw(3, count=20))).items():
        assert metric.value is not None
        low, high = interval_of(metric)
        assert low - 2e-3 <= metric.value <= high + 2e-3, name


def test_without_masks_and_without_good_pixels_figures_are_absent_with_their_reason() -> None:
    heatmaps, masks = draw(0)
    no_masks = pixel_metrics(count(heatmaps[:1], masks[:1]))
    assert all(
        metric.value is None and "mask" in metric.unavailable for metric in no_masks.values()
    )
    all_defective = pixel_metrics(count(heatmaps[:1], [np.ones_like(masks[0])]))
    assert all(
        metric.value is None and "every pixel" in metric.unavailable
        for metric in all_defective.values()
    )


def test_all_values_equal() -> None:
    _, masks = draw(0)
    metrics = pixel_metrics(count([np.ones(mask.shape, np.float32) for mask in masks], masks))
    assert metrics["pixel AUROC"].value == pytest.approx(0.5)
    assert metrics["AUPRO"].value == pytest.approx(0.15)
    assert metrics["pixel F1 max"].value == metrics["pixel F1 of rejecting all"].value


def test_values_beyond_the_levels_count_as_the_ends() -> None:
    heatmap = np.array([[0.0, 1e-9, 1e6, 3e38]], np.float32)
    metrics = pixel_metrics(count([heatmap], [np.array([[False, False, True, True]])]))
    assert metrics["pixel AUROC"].value == 1
