"""All methods on one data set: figures over seeds, time to fit, time an image, size of what is
stored.

    python bench/methods.py DATASET [--backbone resnet18 --weights FILE] [--seeds 3] [--methods
    patchcore,improved-patchcore:scaled]

A preset stands behind a colon. Times are of the method alone, on images prepared beforehand: no
decoding, no calibration, one image at a time. Rows go to bench/out/methods.jsonl as they come;
those that are there are not measured again."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from flawmap.data.layouts import good_training_samples, labelled_test_samples
from flawmap.data.read_mask import read_mask
from flawmap.data.sample import Sample
from flawmap.engine.batches import Batches
from flawmap.features.registration import SpatialTransformerRegistration
from flawmap.methods import METHODS, make_method
from flawmap.metrics.images import image_metrics
from flawmap.metrics.pixels import PixelCounts, pixel_metrics
from flawmap.runtime.images.decode import decode
from flawmap.runtime.preprocess import Preprocessing, resize

ROWS = Path("bench/out/methods.jsonl")
SHORTENED = {"fr-patchcore": {"registration": SpatialTransformerRegistration(epochs=5)}}
"""Where the published settings take hours on two cores: a tenth of the 50 epochs."""

SHOWN = ("image AUROC", "F1 max", "pixel AUROC", "AUPRO")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--weights")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", default=",".join(all_methods()))
    asked = parser.parse_args()
    ROWS.parent.mkdir(parents=True, exist_ok=True)
    known = [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []
    rows = []
    for name in asked.methods.split(","):
        for seed in range(asked.seeds if is_random(name) else 1):
            key = {
                "method": name,
                "seed": seed,
                "backbone": asked.backbone,
                "dataset": asked.dataset.name,
            }
            row = next((row for row in known if key.items() <= row.items()), None)
            if row is None:
                row = key | measure(name, seed, asked.backbone, asked.weights, asked.dataset)
                with ROWS.open("a") as stream:
                    stream.write(json.dumps(row) + "\n")
            rows.append(row)
            print(row, flush=True)
    print(table(rows))


def all_methods() -> Iterator[str]:
    """Name all methods, the improved PatchCore by both of its presets."""
    for name in METHODS:
        presets = ("paper", "scaled") if name == "improved-patchcore" else ()
        yield from [f"{name}:{preset}" for preset in presets] or [name]


def is_random(name: str) -> bool:
    """Tell whether the seed matters: SPADE remembers everything and draws nothing."""
    return name != "spade"


def measure(
    name: str, seed: int, backbone: str, weights: str | None, dataset: Path
) -> dict[str, Any]:
    options: dict[str, Any] = dict(SHORTENED.get(name, {}))
    name, _, preset = name.partition(":")
    method = make_method(
        name, preset or None, backbone=backbone, weights=weights, seed=seed, **options
    )
    preprocessing = replace(
        Preprocessing(), mean=method.feature_extractor.mean, std=method.feature_extractor.std
    )
    good, test = good_training_samples(dataset), labelled_test_samples(dataset)
    started = time.perf_counter()
    method.fit(Batches([sample.path for sample in good], preprocessing))
    fitted = time.perf_counter() - started
    scores, tally, milliseconds = [], PixelCounts(), []
    for sample in test:
        pixels = decode(sample.path)
        images = torch.from_numpy(preprocessing(pixels)[None])
        started = time.perf_counter()
        result = method.score(images)
        milliseconds.append(1000 * (time.perf_counter() - started))
        scores.append(float(result.image[0]))
        count(tally, sample, resize(result.pixel[0].numpy(), *pixels.shape[:2]))
    labels = np.array([sample.label for sample in test])
    metrics = image_metrics(np.array(scores), labels, np.zeros(len(test), bool)) | pixel_metrics(
        tally
    )
    stored = sum(tensor.nbytes for tensor in method.fitted_state().values())
    return {
        **{shown: metrics[shown].value for shown in SHOWN},
        "fit s": fitted,
        "ms an image": float(np.median(milliseconds)),
        "stored MB": stored / 1e6,
    }


def count(tally: PixelCounts, sample: Sample, heatmap: np.ndarray) -> None:
    mask = read_mask(sample.mask) if sample.mask else np.zeros(heatmap.shape, bool)
    if mask.any() or not sample.label:
        tally.add(heatmap, mask)


def table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        "| method | seeds | " + " | ".join(SHOWN) + " | fit | an image | stored |",
        "|---" * 9 + "|",
    ]
    for name in dict.fromkeys(row["method"] for row in rows):
        of_one = [row for row in rows if row["method"] == name]
        method, _, preset = name.partition(":")
        label = f"`{method}`" + (f", `{preset}`" if preset else "")
        label += " (reconstruction)" if METHODS[method].reconstruction else ""
        label += ", 5 of 50 epochs" if name in SHORTENED else ""
        cells = [spread([100 * row[shown] for row in of_one]) for shown in SHOWN]
        fit, each, stored = (
            np.median([row[key] for row in of_one]) for key in ("fit s", "ms an image", "stored MB")
        )
        cells += [f"{fit:.0f} s", f"{each:.0f} ms", f"{stored:.1f} MB"]
        lines.append(f"| {label} | {len(of_one)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def spread(values: Sequence[float]) -> str:
    deviation = f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
    return f"{np.mean(values):.2f}{deviation}"


if __name__ == "__main__":
    main()
