"""A golden record of what every method says, to show that a refactoring changed no bit of it.

    python bench/golden.py record DATASET -o bench/golden.json
    python bench/golden.py check DATASET bench/golden.json [--methods a,b] [--heatsinks-only]

DATASET is in the MVTec layout. `check` ends with 1 when a memory method differs in a single bit
or a trained one by more than 1e-6. Bits depend on the processor and on the versions of the
libraries; the record names both, and `check` says where they differ. All runs on one core.
"""

# ruff: noqa: E402 (the threads are limited before anything is imported that starts some)

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
if hasattr(os, "sched_setaffinity"):
    # OpenVINO has threads of its own, one for each core that the process may use.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import torch

torch.set_num_threads(1)

import argparse
import hashlib
import json
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import flawmap
from flawmap.features.registration import SpatialTransformerRegistration
from flawmap.support.system import describe_system
from flawmap.synthetic.heatsink import draw_defective, draw_good

BACKBONE = "tf_efficientnet_lite0"
TRAINED = ("glass", "crad", "vqflow", "ddad")
WITHOUT_GRAPH = ("spade",)
ALLOWED = 1e-6
"""Relative difference of a trained method."""

OPTIONS: dict[str, dict[str, Any]] = {
    **{name: {"preset": "smoke"} for name in TRAINED},
    # The smoke preset of DDAD attends at half the size, which takes minutes on one core.
    "ddad": {"preset": "smoke", "downscale": 4},
    "improved-patchcore": {"preset": "paper"},
    # Its default of 50 epochs takes minutes too.
    "fr-patchcore": {"registration": SpatialTransformerRegistration(epochs=1)},
}
LIBRARIES = ("torch", "openvino", "numpy", "opencv-python-headless", "timm", "scikit-learn")

Image = Path | np.ndarray
Images = dict[str, Image]
"""Images by name; the order counts."""

Inspects = flawmap.Inspector | flawmap.Runtime


def main() -> None:
    asked = parse()
    started = time.perf_counter()
    if asked.command == "record":
        record = {"environment": environment(), "results": dict(results(asked))}
        asked.output.write_text(json.dumps(record, indent=1) + "\n")
        failed = False
    else:
        failed = check(asked)
    print(f"{time.perf_counter() - started:.0f} s")
    sys.exit(int(failed))


def parse() -> argparse.Namespace:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("dataset", type=Path)
    shared.add_argument("--methods", default=",".join(flawmap.METHODS))
    shared.add_argument("--heatsinks-only", action="store_true")
    shared.add_argument("--seed", type=int, default=0, help="of the methods")
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    commands = parser.add_subparsers(dest="command", required=True)
    record = commands.add_parser("record", parents=[shared])
    record.add_argument("-o", "--output", type=Path, default=Path("bench/golden.json"))
    commands.add_parser("check", parents=[shared]).add_argument("record", type=Path)
    return parser.parse_args()


def environment() -> dict[str, str]:
    """Name what the bits depend on."""
    versions = {library: version(library) for library in LIBRARIES}
    return {"processor": describe_system(), "python": platform.python_version(), **versions}


def results(asked: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measure each method on each data set, named "data set, method"."""
    datasets = {"heat sinks": heatsinks()}
    if not asked.heatsinks_only:
        datasets["tiles"] = tiles(asked.dataset)
    for dataset, (good, test) in datasets.items():
        for name in asked.methods.split(","):
            started = time.perf_counter()
            yield f"{dataset}, {name}", measure(name, asked.seed, good, test)
            seconds = time.perf_counter() - started
            print(f"{dataset}, {name}: {seconds:.1f} s", file=sys.stderr, flush=True)


def heatsinks() -> tuple[list[Image], Images]:
    """Draw 12 good images to fit; 4 good and 4 defective ones to inspect."""
    good: list[Image] = [draw_good("Black", seed) for seed in range(12)]
    test: Images = {f"good {seed}": draw_good("Black", seed) for seed in range(100, 104)}
    for seed, defect_type in enumerate(("stain", "foreign_colour", "scratch", "stain"), 200):
        test[f"{defect_type} {seed}"] = draw_defective("Black", defect_type, seed)[0]
    return good, test


def tiles(dataset: Path) -> tuple[list[Image], Images]:
    """Take 24 good images to fit; 4 good ones and 2 of each of 4 defect types to inspect."""
    defect_types = [f.name for f in sorted((dataset / "test").iterdir()) if f.name != "good"][:4]
    files = first(dataset / "test" / "good", 4)
    files += [file for name in defect_types for file in first(dataset / "test" / name, 2)]
    good: list[Image] = [*first(dataset / "train" / "good", 24)]
    return good, {file.relative_to(dataset).as_posix(): file for file in files}


def first(folder: Path, count: int) -> list[Path]:
    return sorted(folder.iterdir())[:count]


def measure(name: str, seed: int, good: Sequence[Image], test: Images) -> dict[str, Any]:
    """Fit one method and inspect with it, in torch and by the graph of its saved file."""
    options = OPTIONS.get(name, {})
    inspector = flawmap.Inspector(name, backbone=BACKBONE, seed=seed, **options).fit(good)
    calibration = inspector.calibration
    result: dict[str, Any] = {
        "good scores": [float(score).hex() for score in calibration.scores],
        "threshold": float(calibration.threshold).hex(),
        "limit": float(calibration.map_limit).hex(),
        "torch": inspect(inspector, test, name),
    }
    if name not in WITHOUT_GRAPH:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "golden.flawmap"
            inspector.save(file)
            result["graph"] = inspect(flawmap.load(file), test, name)
    return result


def inspect(inspector: Inspects, test: Images, name: str) -> dict[str, Any]:
    """Inspect each image alone: where there are many, threads of the runtime would work at once."""
    verdicts: dict[str, dict[str, Any]] = {}
    for label, image in test.items():
        verdict = inspector.inspect(image)
        heatmap = np.ascontiguousarray(verdict.heatmap, np.float32)
        verdicts[label] = {
            "score": float(verdict.score).hex(),
            "sha256": hashlib.sha256(heatmap.tobytes()).hexdigest(),
        }
        if name in TRAINED:
            verdicts[label]["heat map"] = [value.hex() for value in statistics(heatmap)]
    return verdicts


def statistics(heatmap: np.ndarray) -> list[float]:
    """The maximum, the mean, and the values at 4 × 4 positions spread over the heat map."""
    rows, columns = ([side * (2 * index + 1) // 8 for index in range(4)] for side in heatmap.shape)
    values = heatmap[np.ix_(rows, columns)].ravel()
    return [float(heatmap.max()), float(heatmap.mean(dtype=np.float64)), *map(float, values)]


def check(asked: argparse.Namespace) -> bool:
    """Measure again, print a table, and tell whether more differs than may."""
    recorded = json.loads(asked.record.read_text())
    for what, now in environment().items():
        if (before := recorded["environment"].get(what)) != now:
            print(f"{what}: {before} when recorded, now {now}; bits may differ for that")
    rows, failed = [], False
    for key, result in results(asked):
        golden = recorded["results"].get(key)
        trained = key.split(", ")[1] in TRAINED
        outcome, wrong = compare(golden, result, trained) if golden else ("not recorded", True)
        failed |= wrong
        dataset, name = key.split(", ")
        rows.append(f"| {dataset:<10} | {name:<18} | {outcome} |")
    print("\n".join(["| data set   | method             | result |", "|---|---|---|", *rows]))
    return failed


def compare(before: dict[str, Any], now: dict[str, Any], trained: bool) -> tuple[str, bool]:
    """How two results differ, and whether that is more than may be."""
    if before == now:
        return "identical", False
    largest = difference(before, now)
    if trained and largest <= ALLOWED:
        return f"largest relative difference {largest:.1e}", False
    return f"DIFFERENT, largest relative difference {largest:.1e}", True


def difference(before: Any, now: Any) -> float:
    """The largest relative difference of all numbers; infinite where other things differ.

    Values of a heat map are held against its maximum, since some are close to zero. Hashes are
    passed over: they only say whether all is identical.
    """
    if isinstance(before, dict) and isinstance(now, dict):
        if list(before) != list(now):
            return float("inf")
        differences = []
        for key in before:
            if key == "heat map":
                differences.append(relative(before[key], now[key], float.fromhex(before[key][0])))
            elif key != "sha256":
                differences.append(difference(before[key], now[key]))
        return max(differences, default=0.0)
    if isinstance(before, list) and isinstance(now, list):
        if len(before) != len(now):
            return float("inf")
        return max(map(difference, before, now), default=0.0)
    return relative([before], [now], abs(float.fromhex(before)))


def relative(before: Sequence[str], now: Sequence[str], scale: float) -> float:
    pairs = zip(map(float.fromhex, before), map(float.fromhex, now), strict=True)
    largest = max(abs(value - new_value) for value, new_value in pairs)
    # Written so that what is no number counts as a difference.
    if largest == 0:
        return 0.0
    return largest / scale if scale > 0 <= largest else float("inf")


if __name__ == "__main__":
    main()
