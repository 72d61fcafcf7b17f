"""Sends a station many parts, and says whether anything grows.

    python tools/soak_station.py FILE [--count 20000]

FILE is a saved inspector. Its images are drawn here: good ones, defective ones, and broken files.
They are sent by four threads in ten stages; memory, handles and threads after each are compared.
The exit code is 1 where one of them grows, or where the sums do not reconcile.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil

from flawmap.render.encode import encode_image
from flawmap.server.core.limits import Limits, Refused
from flawmap.server.core.station import Station

_STAGES = 10
_THREADS = 4
_SIDE = 64
_MORE_MEMORY = 24e6
_MORE_HANDLES = 3
_MORE_THREADS = 3


class Stage(NamedTuple):
    """What the process held after a stage.

    Args:
        memory: bytes of the process that are in memory.
        handles: open files, and what else has a number.
        threads: of the process.
        rate: parts a second.
    """

    memory: float
    handles: int
    threads: int
    rate: float


def main() -> int:
    """Send parts; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--count", type=int, default=20_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Station(folder, inspectors=arguments.file, limits=Limits(waiting=64)) as station:
            while not station.state.ready:
                time.sleep(0.05)
            stages = [send(station, arguments.count // _STAGES) for _ in range(_STAGES)]
            counts = station.reader.counts()[0]
    print(f"{counts.received} received, reconciles: {counts.reconciles}")
    # The first stages fill caches.
    first, last = stages[_STAGES // 2], stages[-1]
    grown = [
        name
        for name, more in (
            ("memory", _MORE_MEMORY),
            ("handles", _MORE_HANDLES),
            ("threads", _MORE_THREADS),
        )
        if getattr(last, name) - getattr(first, name) > more
    ]
    print(f"grown: {', '.join(grown) or 'nothing'}")
    return 1 if grown or not counts.reconciles else 0


def send(station: Station, count: int) -> Stage:
    """A stage of so many parts."""
    started = time.monotonic()
    product = next(iter(station.reader.in_force()))

    def one(number: int) -> None:
        while True:
            try:
                part = station.submit(image(number), product, source="rest", actor="soak")
            except Refused:
                time.sleep(0.01)
            else:
                station.wait(part.id, 30)
                return

    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(one, range(count)):
            pass
    process = psutil.Process()
    handles = process.num_fds() if sys.platform != "win32" else process.num_handles()
    rate = count / (time.monotonic() - started)
    stage = Stage(process.memory_info().rss, handles, process.num_threads(), rate)
    print(
        f"{stage.memory / 1e6:7.1f} MB  {stage.handles} handles  {stage.threads} threads  "
        f"{stage.rate:.0f} parts/s",
        flush=True,
    )
    return stage


def image(number: int) -> bytes:
    """An image of a part; one in ten has a defect, one in fifty is no image."""
    rng = np.random.default_rng(number % 500)
    if number % 50 == 0:
        return b"no image"
    pixels = rng.integers(90, 130, (_SIDE, _SIDE, 3)).astype(np.uint8)
    if number % 10 == 0:
        pixels[20:30, 20:30] = 255
    return encode_image(pixels, ".png")


if __name__ == "__main__":
    sys.exit(main())
