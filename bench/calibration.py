"""What the thresholds guarantee and what comes true, on a real data set's good images, over many
draws.

    python bench/calibration.py DATASET [--method flawmap] [--preset balanced] [--seeds 20]

Two tables. First the data set as it is laid out: a fraction of train/good is held out by each seed
(`split`), or none (`leave-out`), and the threshold meets all of test/good. Those are the same few
images every time, and perhaps not quite like the others. So second, all good images are shuffled by
each seed: 400 to fit to, the rest to meet the threshold; there the guarantees must hold. Where a
manifest has groups, whole groups are drawn, and leave-out leaves out whole groups."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from flawmap.data.auto_size import AutoSize
from flawmap.data.layouts import find_samples
from flawmap.engine.batches import Batches
from flawmap.methods import get_preset, make_method
from flawmap.methods.base import HeldOutScores, State
from flawmap.methods.input_size import make_preprocessing, size_multiple
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
    parser.add_argument("--method", default="flawmap")
    parser.add_argument("--preset")
    parser.add_argument("--backbone")
    parser.add_argument("--weights")
    parser.add_argument("--seeds", type=int, default=20)
    arguments = parser.parse_args()
    good = [sample for sample in find_samples(arguments.dataset) if not sample.label]
    given = {"backbone": arguments.backbone, "weights": arguments.weights}
    options = {name: value for name, value in given.items() if value}
    method = make_method(arguments.method, arguments.preset, **options)
    assert isinstance(method, PatchCore)
    paths = [sample.path for sample in good]
    preprocessing = preprocessing_of(method, arguments.method, arguments.preset, paths)
    shard = method.extract(Batches(paths, preprocessing))
    groups = group_numbers([sample.group for sample in good])
    train = np.array([sample.split == "train" for sample in good])
    as_laid_out: Realised = {}
    shuffled: Realised = {}
    for seed in track(range(arguments.seeds), "draws"):
        rng = np.random.default_rng(seed)
        order = shuffled_by_group(groups, rng)
        fitted, new = order[train[order]], np.flatnonzero(~train)
        if seed == 0:
            drawn = leave_out(method, shard, groups, fitted, new)
            meet(as_laid_out, "leave-out", *drawn)
        meet_split(as_laid_out, method, shard, groups, fitted, new)
        fitted, new = np.split(order, [end_of_group(groups[order], FITTED_IMAGES)])
        drawn = leave_out(method, shard, groups, fitted, new)
        meet(shuffled, "leave-out", *drawn)
        meet_split(shuffled, method, shard, groups, fitted, new)
    show(f"test/good as laid out, {np.count_nonzero(~train)} images", as_laid_out)
    show(f"all {len(good)} good images shuffled", shuffled)


def preprocessing_of(
    method: PatchCore, name: str, preset: str | None, paths: list[Path]
) -> Preprocessing:
    """How the method's images are made ready, its size chosen as `flawmap fit` chooses it."""
    size = get_preset(name, preset).size
    if isinstance(size, AutoSize):
        chosen = size.choose(paths, size_multiple(method))
        return make_preprocessing(method, chosen.height, chosen.width)
    return make_preprocessing(method, 224, 224)


def group_numbers(names: list[str]) -> np.ndarray:
    """The group of each image, numbered from 0; each image its own where there are none."""
    if len(set(names)) < 2:
        return np.arange(len(names))
    return np.unique(names, return_inverse=True)[1]


def shuffled_by_group(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """All images, group by group in random order."""
    place = rng.permutation(groups.max() + 1)[groups]
    return np.argsort(place, kind="stable")


def end_of_group(groups: np.ndarray, count: int) -> int:
    """The first end of a group at or behind `count` images."""
    while 0 < count < len(groups) and groups[count] == groups[count - 1]:
        count += 1
    return count


def leave_out(
    method: PatchCore, shard: State, groups: np.ndarray, fitted: np.ndarray, new: np.ndarray
) -> tuple[HeldOutScores, np.ndarray]:
    fitted_shard = only(shard, fitted)
    numbers = np.unique(groups[fitted], return_inverse=True)[1]
    held_out = method.fit_shards([fitted_shard]).leave_one_out_scores(
        fitted_shard, torch.from_numpy(numbers)
    )
    return held_out, scores(method, shard, new)


def meet_split(
    realised: Realised,
    method: PatchCore,
    shard: State,
    groups: np.ndarray,
    fitted: np.ndarray,
    new: np.ndarray,
) -> None:
    """Hold out a fraction of the images, whole groups of them, and note what is rejected."""
    num_held_out = end_of_group(groups[fitted], int(HELD_OUT_FRACTION * len(fitted)))
    method.fit_shards([only(shard, fitted[num_held_out:])])
    kept_out = torch.from_numpy(scores(method, shard, fitted[:num_held_out]))
    held_out = HeldOutScores(kept_out, kept_out)
    meet(realised, "split 70 % + 30 %", held_out, scores(method, shard, new))


def only(shard: State, indices: np.ndarray) -> State:
    rows = torch.from_numpy(indices)
    chosen = {name: tensor[rows] for name, tensor in shard.items() if name != "size"}
    return {**chosen, "size": shard["size"]}


@torch.inference_mode()
def scores(method: PatchCore, shard: State, indices: np.ndarray) -> np.ndarray:
    head = method.head()
    image_scores = []
    for index in indices:
        grid = shard["grid"][index, None].float()
        inside = shard["inside"][index, None] if "inside" in shard else None
        embedded = Embedded((grid,), (), inside)
        image_scores.append(float(head(embedded, *shard["size"].tolist()).image[0]))
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
