"""What the thresholds guarantee and what comes true, on a real data set's good images, over many
draws.

    python bench/calibration.py DATASET [--backbone NAME --weights FILE] [--seeds 20]

Two tables. First the data set as it is laid out: a fraction of train/good is held out by each seed
(`split`), or none (`leave-out`), and the threshold meets all of test/good. Those are the same few
images every time, and perhaps not quite like the others. So second, all good images are shuffled by
each seed: 400 to fit to, the rest to meet the threshold; there the guarantees must hold."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from flawmap.data.layouts import find_samples
from flawmap.engine.batches import Batches
from flawmap.methods import make_method
from flawmap.methods.base import HeldOutScores, State
from flawmap.methods.patchcore import PatchCore
from flawmap.runtime.calibration import Budget, Calibration
from flawmap.runtime.preprocess import Preprocessing
from flawmap.support.tensors import Embedded

BUDGETS = (0.01, 0.05, 0.1, 0.2)
HELD_OUT_FRACTION = 0.3
FITTED_IMAGES = 400

Realised = dict[str, list[list[float]]]
"""By way of calibrating: for each draw the fraction of new good images rejected at each budget."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--weights")
    parser.add_argument("--seeds", type=int, default=20)
    arguments = parser.parse_args()
    good = [sample for sample in find_samples(arguments.dataset) if not sample.label]
    method = make_method("patchcore", backbone=arguments.backbone, weights=arguments.weights)
    assert isinstance(method, PatchCore)
    preprocessing = replace(
        Preprocessing(), mean=method.feature_extractor.mean, std=method.feature_extractor.std
    )
    shard = method.extract(Batches([sample.path for sample in good], preprocessing))
    train = np.array([sample.split == "train" for sample in good])
    as_laid_out: Realised = {}
    shuffled: Realised = {}
    for seed in track(range(arguments.seeds), "draws"):
        rng = np.random.default_rng(seed)
        fitted, new = rng.permutation(np.flatnonzero(train)), np.flatnonzero(~train)
        if seed == 0:
            meet(as_laid_out, f"leave-out, {len(fitted)}", *leave_out(method, shard, fitted, new))
        num_held_out = int(HELD_OUT_FRACTION * len(fitted))
        meet(
            as_laid_out,
            f"split, {len(fitted) - num_held_out} + {num_held_out}",
            *split(method, shard, fitted, num_held_out, new),
        )
        fitted, new = np.split(rng.permutation(len(good)), [FITTED_IMAGES])
        num_held_out = int(HELD_OUT_FRACTION * FITTED_IMAGES)
        meet(shuffled, f"leave-out, {FITTED_IMAGES}", *leave_out(method, shard, fitted, new))
        meet(
            shuffled,
            f"split, {FITTED_IMAGES - num_held_out} + {num_held_out}",
            *split(method, shard, fitted, num_held_out, new),
        )
    show(f"test/good as laid out, {np.count_nonzero(~train)} images", as_laid_out)
    show(f"all {len(good)} good images shuffled", shuffled)


def leave_out(
    method: PatchCore, shard: State, fitted: np.ndarray, new: np.ndarray
) -> tuple[HeldOutScores, np.ndarray]:
    fitted_shard = only(shard, fitted)
    held_out = method.fit_shards([fitted_shard]).leave_one_out_scores(
        fitted_shard, torch.arange(len(fitted))
    )
    return held_out, scores(method, shard, new)


def split(
    method: PatchCore, shard: State, fitted: np.ndarray, num_held_out: int, new: np.ndarray
) -> tuple[HeldOutScores, np.ndarray]:
    method.fit_shards([only(shard, fitted[num_held_out:])])
    kept_out = torch.from_numpy(scores(method, shard, fitted[:num_held_out]))
    return HeldOutScores(kept_out, kept_out), scores(method, shard, new)


def only(shard: State, indices: np.ndarray) -> State:
    return {"grid": shard["grid"][torch.from_numpy(indices)], "size": shard["size"]}


@torch.inference_mode()
def scores(method: PatchCore, shard: State, indices: np.ndarray) -> np.ndarray:
    head = method.head()
    image_scores = []
    for index in indices:
        grid = shard["grid"][index, None]
        image_scores.append(float(head(Embedded((grid,)), *shard["size"].tolist()).image[0]))
    return np.array(image_scores, np.float32)


def meet(realised: Realised, way: str, held_out: HeldOutScores, new: np.ndarray) -> None:
    """Note the fraction of new images that each budget's threshold rejects."""
    for confidence in (None, 0.95):
        thresholds = [
            Calibration(
                held_out.image.numpy(), held_out.peak.numpy(), Budget(budget, confidence)
            ).threshold
            for budget in BUDGETS
        ]
        name = f"{way}, {'95 % sure' if confidence else 'on average'}"
        realised.setdefault(name, []).append(
            [float((new > threshold).mean()) for threshold in thresholds]
        )


def show(title: str, realised: Realised) -> None:
    table = Table(
        f"{title}: rejected, %",
        *(f"budget {budget:.0%}" for budget in BUDGETS),
        title_justify="left",
    )
    for way, draws in realised.items():
        rows = 100 * np.array(draws)
        kept = (rows <= 100 * np.array(BUDGETS)).mean(axis=0)
        cells = [
            f"{mean:.2f} ({low:.1f}–{high:.1f}), kept in {fraction:.0%}"
            for mean, low, high, fraction in zip(
                rows.mean(axis=0), rows.min(axis=0), rows.max(axis=0), kept, strict=True
            )
        ]
        table.add_row(f"{way}, {len(draws)} draws", *cells)
    Console(width=180).print(table)


if __name__ == "__main__":
    main()
