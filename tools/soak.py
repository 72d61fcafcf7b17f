"""Inspects good, bad and broken images for a long time, and says whether anything grows.

    python tools/soak.py FILE [--count 100000] [--threads 4] [--seed 0]

FILE is a saved inspector. Its images are drawn here: good ones, defective ones, and broken files.
Half of them are inspected one by one in threads, a quarter in streams (`inspect_many`), each of
which is left half-way now and then; then a folder of links to them goes through the command line.
Each part is done in ten stages, and memory, handles, threads and latency after each are compared.
The exit code is 1 where one of them grows, where an image has another result than at first, or
where a broken one has a verdict.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import psutil
from cv2.utils import logging as cv2_logging

from flawmap import Runtime, load
from flawmap.errors import ImageError

_STAGES = 10

_TRIES = 50
_LEFT_HALF_WAY = 0.005

_MORE_MEMORY = 24e6
_MORE_HANDLES = 3
_MORE_THREADS = 3
_SLOWER = 2.0
_TOLERANCE = 1e-3
"""Largest accepted difference of a score, as a fraction: several at once round otherwise."""


class Stage(NamedTuple):
    """What the process held after a stage of a part.

    Args:
        memory: bytes of the process that are in memory.
        handles: open files, and what else has a number.
        threads: of the process.
        latency: least time for one image, of some tries, in seconds; other work on the machine
            changes it least.
    """

    memory: float
    handles: float
    threads: float
    latency: float


def draw_images(seed: int) -> tuple[list[bytes], int]:
    """Files of images as bytes, the readable ones first, and how many those are."""
    rng = np.random.default_rng(seed)
    whole = []
    for number in range(24):
        height, width = rng.integers(48, 160, 2)
        image = rng.normal(130, 25, (height, width, 3)).clip(0, 255).astype(np.uint8)
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), 2), np.uint8)
        if number % 3 == 0:
            cv2.circle(image, (int(width) // 2, int(height) // 2), 12, (40, 230, 255), -1)
        suffix = (".png", ".jpg", ".bmp", ".tif")[number % 4]
        whole.append(cv2.imencode(suffix, image)[1].tobytes())
    broken = [b"", b"no image", whole[0][:200], whole[1][: len(whole[1]) // 2], whole[3][:60]]
    return whole + broken, len(whole)


class Soak:
    """One inspector with its images and their first results.

    Args:
        file: the saved inspector.
        seed: of the images.
    """

    def __init__(self, file: Path, seed: int) -> None:
        self.runtime: Runtime = load(file)
        self.images, self.readable = draw_images(seed)
        whole = self.images[: self.readable]
        self.expected = [self.runtime.inspect(image).score for image in whole]
        self.faults: list[str] = []

    def latency(self) -> float:
        """The least time for one image, in seconds."""
        times = []
        for _ in range(_TRIES):
            started = time.perf_counter()
            self.runtime.inspect(self.images[0])
            times.append(time.perf_counter() - started)
        return min(times)

    def in_threads(self, count: int, threads: int) -> None:
        """Inspect so many images one by one in threads."""

        def work(seed: int) -> None:
            rng = random.Random(seed)
            for _ in range(count // threads):
                self._inspect(rng.randrange(len(self.images)))

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, range(threads)))

    def in_streams(self, count: int) -> None:
        """Inspect so many images in streams, some of which end half-way."""
        rng = random.Random(count)
        left = count
        while left > 0:
            numbers = rng.choices(range(len(self.images)), k=min(left, rng.choice([5, 40, 200])))
            inspections = self.runtime.inspect_many([self.images[number] for number in numbers])
            for number, inspection in zip(numbers, inspections, strict=False):
                self._compare(number, inspection.verdict.score if inspection.verdict else None)
                left -= 1
                if rng.random() < _LEFT_HALF_WAY:
                    break

    def _inspect(self, number: int) -> None:
        try:
            score = self.runtime.inspect(self.images[number]).score
        except ImageError:
            score = None
        self._compare(number, score)

    def _compare(self, number: int, score: float | None) -> None:
        if number >= self.readable:
            right = score is None
        else:
            expected = self.expected[number]
            right = score is not None and abs(score - expected) <= _TOLERANCE * max(expected, 1e-3)
        if not right:
            self.faults.append(f"image {number} scores {score}")


def stages(count: int, part: str, soak: Soak, threads: int) -> Iterator[Stage]:
    """Do a part in stages."""
    process = psutil.Process()
    for number in range(_STAGES):
        each = max(count // _STAGES, 1)
        soak.in_threads(each, threads) if part == "threads" else soak.in_streams(each)
        handles = process.num_fds() if os.name == "posix" else process.num_handles()
        latency = soak.latency()
        stage = Stage(process.memory_info().rss, handles, process.num_threads(), latency)
        print(
            f"{part} {number + 1}/{_STAGES}: {each} images, {stage.memory / 1e6:.0f} MB, "
            f"{stage.handles} handles, {stage.threads} threads, {1000 * latency:.2f} ms",
            flush=True,
        )
        yield stage


def growth(part: str, found: list[Stage]) -> list[str]:
    """What grew from the first stages, but for the very first, to the last ones, in words."""
    before, after = (_medians(some) for some in (found[1:4], found[-3:]))
    problems = []
    if after.memory > before.memory + _MORE_MEMORY:
        problems.append(f"{part}: memory grows")
    if after.handles > before.handles + _MORE_HANDLES:
        problems.append(f"{part}: handles grow")
    if after.threads > before.threads + _MORE_THREADS:
        problems.append(f"{part}: threads grow")
    if after.latency > _SLOWER * before.latency:
        problems.append(f"{part}: latency grows")
    return problems


def _medians(some: list[Stage]) -> Stage:
    return Stage(*(float(np.median(values)) for values in zip(*some, strict=True)))


def command_line(file: Path, soak: Soak, count: int) -> list[str]:
    """Inspect a folder of links by the command line; gives what was wrong."""
    with tempfile.TemporaryDirectory() as name:
        folder, store = Path(name, "links"), Path(name, "store")
        folder.mkdir()
        store.mkdir()
        for number, data in enumerate(soak.images):
            (store / f"{number:02}.png").write_bytes(data)
        for number in range(count):
            target = store / f"{number % len(soak.images):02}.png"
            os.link(target, folder / f"{number:06}.png")
        started = time.perf_counter()
        command = [
            sys.executable,
            "-m",
            "flawmap",
            "inspect",
            file,
            folder,
            "-o",
            Path(name, "out"),
        ]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - started
        rows = Path(name, "out", "results.jsonl").read_text("utf-8").splitlines()
    readable = sum("score" in row and row["score"] is not None for row in map(json.loads, rows))
    expected = sum(number % len(soak.images) < soak.readable for number in range(count))
    print(
        f"command line: {count} links in {seconds:.1f} s, {readable} scored, exit {done.returncode}"
    )
    problems = []
    if (len(rows), readable) != (count, expected):
        problems.append(f"command line: {len(rows)} rows, {readable} scored instead of {expected}")
    if done.returncode != 2 or "Traceback" in done.stderr:
        problems.append(f"command line: exit {done.returncode}: {done.stderr[-300:]}")
    return problems


def main(arguments: list[str]) -> int:
    """Soak an inspector.

    Args:
        arguments: of the command line.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    cv2_logging.setLogLevel(cv2_logging.LOG_LEVEL_SILENT)  # broken images are meant
    soak = Soak(options.file, options.seed)
    problems = []
    for part, share in (("threads", 0.6), ("streams", 0.35)):
        count = round(share * options.count)
        problems += growth(part, list(stages(count, part, soak, options.threads)))
    problems += command_line(options.file, soak, round(0.05 * options.count))
    problems += sorted(set(soak.faults))[:5]
    print(
        *(problems or ["flat: memory, handles, threads and latency; every result as at first"]),
        sep="\n",
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
