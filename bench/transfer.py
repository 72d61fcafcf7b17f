"""Whether fine-tuning the backbone helps: settings chosen on painted defects, then measured on
real ones.

    python bench/transfer.py choose DATASET [--backbone resnet18 --weights FILE] [--seeds 1]
    python bench/transfer.py measure DATASET [--backbone resnet18 --weights FILE] [--seeds 3]

`choose` opens no test image. Four fifths of the good training images fine-tune the backbone, by
three types of painted defects, and fill PatchCore's bank; the last fifth is scored, good and with
the two other types painted on. `measure` fits to all good images, fine-tuned and not, and scores
the test set. DATASET may be a folder of products, or `heatsinks`, which are then drawn. Rows go to
bench/results/transfer.jsonl as they come and are not measured again."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from flawmap.data.layouts import find_products, good_training_samples, labelled_test_samples
from flawmap.engine.batches import Batches
from flawmap.features.backbone import Backbone
from flawmap.finetune.classes import classes_by_product
from flawmap.finetune.config import PAPER_CONFIG, FineTuneConfig
from flawmap.finetune.trainer import fine_tune
from flawmap.methods import make_method
from flawmap.methods.base import Method
from flawmap.metrics.images import image_metrics
from flawmap.runtime.image_types import ImageInput
from flawmap.runtime.images.decode import decode
from flawmap.runtime.preprocess import Preprocessing
from flawmap.synthetic import heatsink
from flawmap.synthetic.defects import paint_defect
from flawmap.synthetic.heatsink_designs import DESIGNS

ROWS = Path("bench/results/transfer.jsonl")
TRAINED_TYPES = ("texture", "cutpaste", "cutpaste_scar")
CHECKED_TYPES = ("scratch", "stain")
COUNTS = {product: heatsink.ImageCounts(120, 60, 90) for product in DESIGNS}
DRAWN = Path("bench/out/heatsinks")

SHORT = replace(PAPER_CONFIG, epochs=5)
VARIANTS = {
    "none": None,
    "paper's": SHORT,
    "kept statistics": replace(SHORT, batch_norm="frozen"),
    "rate 0.001": replace(SHORT, learning_rate=0.001),
    "rate 0.001, kept statistics": replace(SHORT, learning_rate=0.001, batch_norm="frozen"),
    "two stages frozen": replace(SHORT, frozen_stages=2),
    "two stages frozen, rate 0.001, kept statistics": FineTuneConfig(),
}
METHODS = {"patchcore": None, "improved-patchcore": "paper"}
"""What is measured, and by which preset."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("choose", "measure"))
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--backbone", default="tf_efficientnet_lite0")
    parser.add_argument("--weights")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--variants", default="")
    arguments = parser.parse_args()
    if str(arguments.dataset) == "heatsinks":
        heatsink.write_heatsinks(DRAWN, COUNTS)
        arguments.dataset = DRAWN
    products = find_products(arguments.dataset) or {arguments.dataset.name: arguments.dataset}
    rows: list[dict[str, Any]] = []
    for seed in range(arguments.seeds):
        for name, folder in products.items():
            about = {
                "what": arguments.what,
                "data": name,
                "backbone": arguments.backbone,
                "seed": seed,
            }
            make = partial(
                make_method, backbone=arguments.backbone, weights=arguments.weights, seed=seed
            )
            jobs = (
                choose(make, folder)
                if arguments.what == "choose"
                else measure(make, folder, arguments.dataset)
            )
            for key, job in jobs:
                if arguments.variants and key["variant"] not in arguments.variants.split(";"):
                    continue
                rows.append(stored_or_done(about | key, job))
                print(rows[-1], flush=True)
    print(table(rows))


def stored_or_done(key: dict[str, Any], job: Any) -> dict[str, Any]:
    ROWS.parent.mkdir(parents=True, exist_ok=True)
    stored = [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []
    for earlier in stored:
        if key.items() <= earlier.items():
            return dict(earlier)
    row: dict[str, Any] = key | job()
    with ROWS.open("a") as stream:
        stream.write(json.dumps(row) + "\n")
    return row


def choose(make: Any, folder: Path) -> Iterator[tuple[dict[str, Any], Any]]:
    """List the variants, each measured without a test image."""
    for name, config in VARIANTS.items():
        yield {"variant": name, "method": "patchcore"}, partial(_choose, make, folder, config)


def _choose(make: Any, folder: Path, config: FineTuneConfig | None) -> dict[str, Any]:
    method: Method = make("patchcore")
    paths = [sample.path for sample in good_training_samples(folder)]
    held_out = set(
        np.random.default_rng(method.seed).permutation(len(paths))[: len(paths) // 5].tolist()
    )
    training = [path for index, path in enumerate(paths) if index not in held_out]
    held_out_images = [decode(paths[index]) for index in sorted(held_out)]
    tuned = {}
    if config:
        started = time.perf_counter()
        method.feature_extractor, record = fine_tune(
            method.backbone_spec,
            {"good": training},
            replace(config, defect_types=TRAINED_TYPES),
            seed=method.seed,
        )
        tuned = {
            "tuning s": time.perf_counter() - started,
            "validation accuracy": record.history[-1].validation_accuracy,
        }
    rng = np.random.default_rng(method.seed)
    painted = [paint_defect(pixels, rng, CHECKED_TYPES).pixels for pixels in held_out_images]
    return tuned | _evaluate(method, training, held_out_images, painted)


def leaky_classes(source: Path) -> dict[str, list[Path]]:
    """Good and defective images of the test set: the leak, only to show its size."""
    classes: dict[str, list[Path]] = {"good": [], "defective": []}
    for sample in labelled_test_samples(source):
        classes["defective" if sample.label else "good"].append(sample.path)
    return classes


def measure(make: Any, folder: Path, dataset: Path) -> Iterator[tuple[dict[str, Any], Any]]:
    """List what is measured on the test set.

    Without fine-tuning, and with the shipped and the paper's settings.
    """
    modes = {"none": None, "synthetic": FineTuneConfig(), "synthetic, paper's": SHORT}
    if dataset != folder:
        modes |= {
            "products": FineTuneConfig("products"),
            "product, paper's": replace(SHORT, mode="products"),
        }
    modes["leaky, paper's"] = replace(SHORT, mode="leaky")
    for mode, config in modes.items():
        for name in METHODS:
            yield (
                {"variant": mode, "method": name},
                partial(_measure, make, name, folder, dataset, config),
            )


_tuned: dict[tuple[Any, ...], tuple[Backbone, float]] = {}
"""The networks fine-tuned so far and the seconds they took: both methods use them."""


def _measure(
    make: Any, name: str, folder: Path, dataset: Path, config: FineTuneConfig | None
) -> dict[str, Any]:
    method: Method = make(name, METHODS[name])
    training = [sample.path for sample in good_training_samples(folder)]
    seconds = 0.0
    if config:
        about = (
            config,
            method.backbone,
            method.seed,
            dataset if config.mode == "products" else folder,
        )
        if about not in _tuned:
            classes = {"products": classes_by_product, "leaky": leaky_classes}.get(
                config.mode, lambda _: {"good": training}
            )
            started = time.perf_counter()
            tuned, _ = fine_tune(
                method.backbone_spec,
                classes(about[-1]),
                config,
                seed=method.seed,
            )
            _tuned[about] = tuned, time.perf_counter() - started
        method.feature_extractor, seconds = _tuned[about]
    test = labelled_test_samples(folder)
    good = [sample.path for sample in test if not sample.label]
    return {"tuning s": seconds} | _evaluate(
        method, training, good, [sample.path for sample in test if sample.label]
    )


def _evaluate(
    method: Method, training: list[Path], good: Sequence[ImageInput], bad: Sequence[ImageInput]
) -> dict[str, Any]:
    preprocessing = replace(
        Preprocessing(), mean=method.feature_extractor.mean, std=method.feature_extractor.std
    )
    method.fit(Batches(training, preprocessing))
    scores = [_scores(method, Batches(images, preprocessing)) for images in (good, bad)]
    labels = np.repeat([0, 1], [len(of_set) for of_set in scores])
    metrics = image_metrics(np.concatenate(scores), labels, np.zeros(len(labels), bool))
    spread = float(scores[0].std() / scores[0].mean())
    return {
        **{name: metrics[name].value for name in ("image AUROC", "F1 max")},
        "spread of good scores": spread,
    }


def _scores(method: Method, batches: Iterable[Any]) -> np.ndarray:
    return torch.cat([method.score(batch.images).image for batch in batches]).numpy()


def table(rows: list[dict[str, Any]]) -> str:
    shown = ("image AUROC", "F1 max", "spread of good scores", "validation accuracy")
    lines = [
        "| data | backbone | method | fine-tuned | " + " | ".join(shown) + " | tuning |",
        "|---" * 9 + "|",
    ]
    keys = dict.fromkeys(
        (row["data"], row["backbone"], row["method"], row["variant"]) for row in rows
    )
    for key in keys:
        of_one = [
            row
            for row in rows
            if (row["data"], row["backbone"], row["method"], row["variant"]) == key
        ]
        cells = [_mean_and_sd([100 * row[name] for row in of_one if name in row]) for name in shown]
        seconds = np.median([row.get("tuning s", 0.0) for row in of_one])
        lines.append(f"| {' | '.join((*key, *cells))} | {seconds:.0f} s |")
    return "\n".join(lines)


def _mean_and_sd(values: list[float]) -> str:
    if not values:
        return "–"
    return f"{np.mean(values):.2f}" + (
        f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
    )


if __name__ == "__main__":
    main()
