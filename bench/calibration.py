"""What the thresholds promise and what comes true, on a real data set's good images, over many
draws.

    python bench/calibration.py DATASET [--backbone NAME --weights FILE] [--seeds 20]

Two tables. First the data set as it is laid out: a share of train/good is kept aside by each seed
(`split`), or none (`leave-out`), and the threshold meets all of test/good. Those are the same few
images every time, and perhaps not quite like the others. So second, all good images are shuffled by
each seed: 400 to learn from, the rest to meet the threshold; there the promises must hold."""

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
SHARE = 0.3
LEARNED = 400

Realised = dict[str, list[list[float]]]
"""By way of calibrating: for each draw the share of new good images rejected at each budget."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--weights")
    parser.add_argument("--seeds", type=int, default=20)
    asked = parser.parse_args()
    good = [sample for sample in find_samples(asked.dataset) if not sample.label]
    method = make_method("patchcore", backbone=asked.backbone, weights=asked.weights)
    assert isinstance(method, PatchCore)
    preprocessing = replace(
        Preprocessing(), mean=method.feature_extractor.mean, std=method.feature_extractor.std
    )
    part = method.extract(Batches([sample.path for sample in good], preprocessing))
    train = np.array([sample.split == "train" for sample in good])
    as_laid_out: Realised = {}
    shuffled: Realised = {}
    for seed in track(range(asked.seeds), "draws"):
        rng = np.random.default_rng(seed)
        learned, new = rng.permutation(np.flatnonzero(train)), np.flatnonzero(~train)
        if seed == 0:
            meet(as_laid_out, f"leave-out, {len(learned)}", *leave_out(method, part, learned, new))
        aside = int(SHARE * len(learned))
        meet(
            as_laid_out,
            f"split, {len(learned) - aside} + {aside}",
            *split(method, part, learned, aside, new),
        )
        learned, new = np.split(rng.permutation(len(good)), [LEARNED])
        aside = int(SHARE * LEARNED)
        meet(shuffled, f"leave-out, {LEARNED}", *leave_out(method, part, learned, new))
        meet(
            shuffled,
            f"split, {LEARNED - aside} + {aside}",
            *split(method, part, learned, aside, new),
        )
    show(f"test/good as laid out, {np.count_nonzero(~train)} images", as_laid_out)
    show(f"all {len(good)} good images shuffled", shuffled)


def leave_out(
    method: PatchCore, part: State, learned: np.ndarray, new: np.ndarray
) -> tuple[HeldOutScores, np.ndarray]:
    known = only(part, learned)
    held_out = method.fit_shards([known]).leave_one_out_scores(known, torch.arange(len(learned)))
    return held_out, scores(method, part, new)


def split(
    method: PatchCore, part: State, learned: np.ndarray, aside: int, new: np.ndarray
) -> tuple[HeldOutScores, np.ndarray]:
    method.fit_shards([only(part, learned[aside:])])
    kept_out = torch.from_numpy(scores(method, part, learned[:aside]))
    return HeldOutScores(kept_out, kept_out), scores(method, part, new)


def only(part: State, places: np.ndarray) -> State:
    return {"grid": part["grid"][torch.from_numpy(places)], "size": part["size"]}


@torch.inference_mode()
def scores(method: PatchCore, part: State, places: np.ndarray) -> np.ndarray:
    head = method.head()
    found = []
    for place in places:
        grid = part["grid"][place, None]
        found.append(float(head(Embedded((grid,)), *part["size"].tolist()).image[0]))
    return np.array(found, np.float32)


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
            f"{mean:.2f} ({low:.1f}–{high:.1f}), kept in {share:.0%}"
            for mean, low, high, share in zip(
                rows.mean(axis=0), rows.min(axis=0), rows.max(axis=0), kept, strict=True
            )
        ]
        table.add_row(f"{way}, {len(draws)} draws", *cells)
    Console(width=180).print(table)


if __name__ == "__main__":
    main()
