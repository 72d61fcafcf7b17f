"""Time and peak memory of `flawmap fit` by the number of good images, within a memory limit.

    python bench/fit_scale.py GOOD [--sizes 500,1000,2000,5000] [--memory 1GB] [--plot FILE.png]

GOOD is a folder of images; pieces of them, turned, mirrored and of other brightness, are written
once, as many as the largest size. Each fit is a process of its own, and what it says beforehand is
printed beside what it took. An hour on two cores; `--sizes 50,100` takes two minutes."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from matplotlib.figure import Figure

SIDE = 224
FORECAST = re.compile(r"takes about ([\d.]+) (s|min|h) more, ([\d.]+) GB of memory")
SECONDS = {"s": 1, "min": 60, "h": 3600}


class Outcome(NamedTuple):
    """What a fit took, and what it had said; seconds of the whole command, bytes at the peak."""

    images: int
    seconds: float
    peak: float
    said_seconds: float
    seconds_after: float
    said_peak: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("good", type=Path)
    parser.add_argument("--sizes", default="500,1000,2000,5000")
    parser.add_argument("--memory", default="1GB")
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.sizes.split(",")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = draw(arguments.good, folder / "all", max(sizes))
        print("images   seconds   per image   peak memory   said: seconds, memory")
        outcomes = []
        for size in sizes:
            outcomes.append(fit(link(files[:size], folder / str(size)), size, arguments.memory))
            show(outcomes[-1])
        if arguments.plot:
            plot(outcomes, arguments.memory, arguments.plot)


def draw(good: Path, folder: Path, count: int) -> list[Path]:
    """Write so many images of 224 × 224 pixels, each a piece of one of those there are."""
    sources = sorted(path for path in good.rglob("*") if path.suffix in {".jpg", ".png", ".bmp"})
    rng = np.random.default_rng(0)
    folder.mkdir()
    files = []
    for number in range(count):
        image = cv2.imread(str(sources[number % len(sources)]))
        assert image is not None
        height, width = image.shape[:2]
        side = int(min(height, width) * rng.uniform(0.8, 1))
        top, left = rng.integers(0, height - side + 1), rng.integers(0, width - side + 1)
        piece = cv2.resize(image[top : top + side, left : left + side], (SIDE, SIDE))
        piece = piece[:: int(rng.choice([-1, 1])), :: int(rng.choice([-1, 1]))]
        brighter = np.clip(piece * rng.uniform(0.9, 1.1), 0, 255).astype(np.uint8)
        files.append(folder / f"{number:05}.png")
        cv2.imwrite(str(files[-1]), brighter)
    return files


def link(files: Sequence[Path], folder: Path) -> Path:
    folder.mkdir()
    for file in files:
        (folder / file.name).symlink_to(file)
    return folder


def fit(good: Path, images: int, memory: str) -> Outcome:
    command = [sys.executable, "-m", "flawmap", "fit", str(good), "-o", f"{good}.flawmap"]
    command += ["--preset", "fast", "--size", str(SIDE), "--memory", memory]
    started = time.monotonic()
    said_at = started
    text = ""
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        for line in process.stderr:
            text += line
            if "takes about" in line:
                said_at = time.monotonic()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, text
    ended = time.monotonic()
    said = FORECAST.search(text)
    assert said, text
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Outcome(
        images=images,
        seconds=ended - started,
        peak=peak,
        said_seconds=float(said[1]) * SECONDS[said[2]],
        seconds_after=ended - said_at,
        said_peak=float(said[3]) * 1e9,
    )


def show(outcome: Outcome) -> None:
    said = f"{outcome.said_seconds:.0f} (took {outcome.seconds_after:.0f})"
    print(
        f"{outcome.images:6} {outcome.seconds:9.1f} {outcome.seconds / outcome.images:11.4f}"
        f" {outcome.peak / 1e9:10.2f} GB   {said}, {outcome.said_peak / 1e9:.1f} GB",
        flush=True,
    )


def plot(outcomes: Sequence[Outcome], memory: str, file: Path) -> None:
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    images = [outcome.images for outcome in outcomes]
    left, right = figure.subplots(1, 2)
    left.plot(images, [outcome.seconds for outcome in outcomes], "o-")
    left.set(xlabel="good images", ylabel="seconds")
    right.plot(images, [outcome.peak / 1e9 for outcome in outcomes], "o-")
    right.set(xlabel="good images", ylabel=f"GB at the peak (--memory {memory})")
    for axes in (left, right):
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0, top=1.1 * axes.dataLim.ymax)
        axes.grid(alpha=0.3)
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    main()
