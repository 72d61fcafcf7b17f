"""Figures per pixel on a whole test set: time, memory, and how far the streamed counts are from
exact ones.

    python bench/pixels.py DATASET

The masks are the data set's, the heat maps drawn: noise, the image and a little of the mask,
smoothed."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import cv2
import numpy as np
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from flawmap.data.layouts import labelled_test_samples
from flawmap.data.read_mask import read_mask
from flawmap.metrics.pixels import PixelCounts, pixel_metrics
from flawmap.metrics.ranking import per_region_overlap
from flawmap.runtime.images.decode import decode


def main() -> None:
    heatmaps, masks = draw(Path(sys.argv[1]))
    before, started = peak(), time.perf_counter()
    tally = PixelCounts()
    for heatmap, mask in zip(heatmaps, masks, strict=True):
        tally.add(heatmap, mask)
    metrics = pixel_metrics(tally)
    pixels = sum(mask.size for mask in masks) / 1e6
    print(
        f"{len(masks)} images, {pixels:.0f} million pixels: {time.perf_counter() - started:.1f} "
        f"s with intervals,",
        end=" ",
    )
    print(f"{peak() - before:.0f} MB more than the images themselves")
    for name, value in exact(heatmaps, masks).items():
        counted = metrics[name].value
        assert counted is not None
        print(f"{name:<13} {counted:.9f}, {abs(counted - value):.1e} from the exact one")


def draw(dataset: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    rng, heatmaps, masks = np.random.default_rng(0), [], []
    for sample in labelled_test_samples(dataset):
        image = decode(sample.path)[:, :, 0].astype(np.float32)
        mask = read_mask(sample.mask) if sample.mask else np.zeros(image.shape, bool)
        noise = 0.3 * rng.standard_normal(image.shape, np.float32)
        heatmaps.append(
            np.abs(cv2.GaussianBlur(image / 200 + noise + 0.2 * mask.astype(np.float32), (0, 0), 4))
        )
        masks.append(mask)
    return heatmaps, masks


def exact(heatmaps: list[np.ndarray], masks: list[np.ndarray]) -> dict[str, float]:
    scores, labels = np.concatenate(heatmaps, axis=None), np.concatenate(masks, axis=None)
    precision, recall, _ = precision_recall_curve(labels, scores)
    order = np.argsort(scores, kind="stable")
    _, starts = np.unique(scores[order], return_index=True)
    weights = np.concatenate([weigh(mask) for mask in masks])[order]
    good = np.add.reduceat((~labels[order]).astype(float), starts)
    return {
        "pixel AUROC": float(roc_auc_score(labels, scores)),
        "pixel AP": float(average_precision_score(labels, scores)),
        "pixel F1 max": float(
            (2 * precision * recall / np.maximum(precision + recall, 1e-300)).max()
        ),
        "AUPRO": float(per_region_overlap(good, np.add.reduceat(weights, starts))),
    }


def weigh(mask: np.ndarray) -> np.ndarray:
    _, regions, boxes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas: np.ndarray = boxes[regions, cv2.CC_STAT_AREA]
    weights: np.ndarray = (mask / areas).ravel()
    return weights


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


if __name__ == "__main__":
    main()
