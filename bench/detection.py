"""How many defects methods find: image AUROC, defects found at 1 % and 5 % false rejects, AUPRO.

    python bench/detection.py DATASET... [--methods patchcore,flawmap,flawmap:fast] [--seeds 3]

DATASET is a folder in a layout that flawmap reads, or a CSV manifest. A method may be followed by a
colon and one of its presets. Each method is fitted to all good training images, saved, loaded by
the runtime without torch, and evaluated on the test images. Rows go to
bench/results/detection.jsonl as they come; those that are there are not measured again. The table
shows means over the seeds."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

import flawmap
from flawmap.data.layouts import labelled_test_samples
from flawmap.evaluation import Evaluation, evaluate
from flawmap.inspector import Inspector
from flawmap.support.system import describe_system

ROWS = Path("bench/results/detection.jsonl")
SHOWN = (
    "image AUROC",
    "defects found at 1 % false rejects, by rank",
    "defects found at 5 % false rejects, by rank",
    "AUPRO",
)
"""Metrics of the table, in per cent there."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("datasets", type=Path, nargs="+")
    parser.add_argument("--methods", default="patchcore,flawmap")
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    ROWS.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    for dataset in asked.datasets:
        for method in asked.methods.split(","):
            rows += [row_of(dataset, method, seed) for seed in range(asked.seeds)]
    print(describe_system())
    print(table(rows))


def row_of(dataset: Path, method: str, seed: int) -> dict[str, Any]:
    """The row of one run: the stored one, or a new one that is then stored."""
    key = {"dataset": name_of(dataset), "method": method, "seed": seed}
    stored = ROWS.read_text().splitlines() if ROWS.exists() else []
    for line in stored:
        row: dict[str, Any] = json.loads(line)
        if key.items() <= row.items():
            return row
    row = {**key, **measure(dataset, method, seed)}
    with ROWS.open("a") as stream:
        stream.write(json.dumps(row) + "\n")
    print(row, flush=True)
    return row


def name_of(dataset: Path) -> str:
    """What a data set is called in the rows: its folder, and its manifest's stem."""
    folder = dataset.resolve()
    return f"{folder.parent.name}/{folder.stem}" if dataset.suffix == ".csv" else folder.name


def measure(dataset: Path, method: str, seed: int) -> dict[str, Any]:
    """Fit, save, load and evaluate."""
    name, _, preset = method.partition(":")
    started = time.perf_counter()
    inspector = Inspector(name, preset=preset or None, seed=seed).fit(dataset)
    fit_seconds = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "part.flawmap")
        inspector.save(file)
        runtime = flawmap.load(file)
    evaluation = evaluate(runtime, labelled_test_samples(dataset))
    size = runtime.preprocessing
    return {
        "input": f"{size.height}x{size.width}",
        "fit_seconds": round(fit_seconds, 1),
        "inference_ms": round(median(inference_times(evaluation)), 2),
        **{name: metric.value for name, metric in evaluation.metrics.items()},
    }


def inference_times(evaluation: Evaluation) -> list[float]:
    """Milliseconds of each image; several are computed at once, so they are no latencies."""
    return [record.inference_ms for record in evaluation.records]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Means over the seeds as a Markdown table, a line for each data set and method."""
    lines = [["data set", "method", "input", "seeds", *SHOWN]]
    keys = dict.fromkeys((row["dataset"], row["method"]) for row in rows)
    for dataset, method in keys:
        of_both = [row for row in rows if (row["dataset"], row["method"]) == (dataset, method)]
        values = [mean_text(row.get(name) for row in of_both) for name in SHOWN]
        lines.append([dataset, method, of_both[0]["input"], str(len(of_both)), *values])
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def mean_text(values: Iterable[float | None]) -> str:
    """The mean in per cent, or a dash where a value is missing."""
    given = list(values)
    known = [value for value in given if value is not None]
    return f"{100 * fmean(known):.1f}" if len(known) == len(given) else "–"


if __name__ == "__main__":
    main()
