"""Letterboxing against stretching, on a real data set whose images have many aspects.

    python bench/letterbox.py DATASET [--stride 8] [--pixels 320] [--images 300] [--seeds 1]

DATASET is a folder in the MVTec layout or a manifest. Image AUROC and the percentage of defective
parts found where 5 % of the good test images are rejected: over all test images, and over those
more than 25 % off the input's aspect (with the threshold of all). One core will do."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

from flawmap.data.auto_size import AutoSize
from flawmap.data.layouts import find_samples
from flawmap.data.sample import Sample
from flawmap.engine.batches import Batches
from flawmap.memory.bank import ImageScore, Maximum, TopShare
from flawmap.methods.input_size import make_preprocessing, size_multiple
from flawmap.methods.patchcore import PatchCore
from flawmap.runtime.images.decode import decode

IMAGE_SCORES: dict[str, ImageScore] = {"maximum": Maximum(), "top 1 %": TopShare(0.01)}
FALSE_REJECTS = 0.05
OFF_ASPECT = 1.25


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--stride", type=int)
    parser.add_argument("--pixels", type=int, default=320)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    samples = find_samples(arguments.dataset)
    train = [sample.path for sample in samples if sample.split == "train"]
    test = [sample for sample in samples if sample.split == "test"]
    aspects = np.array([_aspect(sample) for sample in test])
    labels = np.array([sample.label for sample in test], bool)
    console = Console()
    table = Table("seed", "size", "images", "score", "AUROC", "found", "AUROC off", "found off")
    for seed in range(arguments.seeds):
        chosen = np.random.default_rng(seed).permutation(len(train))[: arguments.images]
        good = [train[index] for index in sorted(chosen)]
        for letterbox in (False, True):
            method = PatchCore(letterbox=letterbox, seed=seed, stride=arguments.stride)
            size = AutoSize(arguments.pixels).choose(good, size_multiple(method))
            preprocessing = make_preprocessing(method, size.height, size.width)
            method.fit(Batches(good, preprocessing))
            scores = _score(method, Batches([sample.path for sample in test], preprocessing))
            ratio = aspects * size.height / size.width
            off = np.maximum(ratio, 1 / ratio) > OFF_ASPECT
            for name, values in scores.items():
                figures = _figures(values, labels, off)
                way = "letterboxed" if letterbox else "stretched"
                table.add_row(str(seed), f"{size.height} × {size.width}", way, name, *figures)
                console.print(f"seed {seed}, {way}, {name}: {', '.join(figures)}")
    console.print(table)


def _aspect(sample: Sample) -> float:
    height, width = decode(sample.path).shape[:2]
    return float(width / height)


def _score(method: PatchCore, batches: Batches) -> dict[str, np.ndarray]:
    """The image scores of all test images by each rule, from one search."""
    found: dict[str, list[torch.Tensor]] = {name: [] for name in IMAGE_SCORES}
    head = method.head().eval()
    method.encoder_runner.warm_up(batches)
    with torch.inference_mode():
        for batch in batches:
            embedded = method.encoder_runner.encode(batch.images)
            compared = head.compare(embedded)
            maps = compared.distances[0]  # not used: these rules score patches
            for name, rule in IMAGE_SCORES.items():
                head.image_rule = rule
                found[name].append(head.image_score(embedded, compared, maps))
    return {name: torch.cat(scores).numpy() for name, scores in found.items()}


def _figures(scores: np.ndarray, labels: np.ndarray, off: np.ndarray) -> Sequence[str]:
    good = np.sort(scores[~labels])
    threshold = good[len(good) - 1 - int(FALSE_REJECTS * len(good))]
    return [
        f"{100 * roc_auc_score(labels, scores):.2f}",
        f"{100 * (scores[labels] > threshold).mean():.1f}",
        f"{100 * roc_auc_score(labels[off], scores[off]):.2f}",
        f"{100 * (scores[labels & off] > threshold).mean():.1f}",
    ]


if __name__ == "__main__":
    main()
