"""The demonstration: drawn heat sinks come down a simulated line, and the station judges them."""

from __future__ import annotations

import importlib.util
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from flawmap.errors import FlawmapError, MissingExtra, StationError
from flawmap.render.encode import encode_image
from flawmap.server.core.station import Station
from flawmap.support.atomic import atomic_folder
from flawmap.synthetic.heatsink import ImageCounts, draw_defective, draw_good, write_heatsinks
from flawmap.synthetic.heatsink_designs import DESIGNS

_log = logging.getLogger(__name__)

PRODUCT = "Black"
_GOOD_IMAGES = 40
_EVERY_S = 1.0
_DEFECTIVE = 0.25
_SEED = 2518329
"""Of the line's parts; those that were learned from have seed 0."""


class Demo:
    """Heat sinks to learn from, an inspector of them, and a line of new ones.

    Args:
        data: folder of the station; the inspector is kept in its subfolder `demo`.
    """

    def __init__(self, data: Path) -> None:
        self._folder = data / "demo"

    def inspectors(self) -> Path:
        """The folder with the inspector; the first time it is fitted, which takes half a minute.

        Raises:
            MissingExtra: what fits is not installed.
            StationError: the fit failed.
        """
        file = self._folder / f"{PRODUCT}.flawmap"
        if file.exists():
            return self._folder
        if importlib.util.find_spec("torch") is None:
            raise MissingExtra(
                'the demo fits an inspector first, which takes torch; pip install "flawmap[fit]"'
            )
        good = self._folder / "good"
        if not good.exists():
            with atomic_folder(good) as folder:
                write_heatsinks(folder, {PRODUCT: ImageCounts(_GOOD_IMAGES, 0, 0)})
        # Of its own process, so that the station never loads torch.
        command = [sys.executable, "-m", "flawmap", "fit", str(good / PRODUCT), "-o", str(file)]
        command += ["--preset", "fast", "--false-rejects", "0.05"]
        done = subprocess.run(
            command,
            check=False,
            stdout=sys.stderr,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"COLUMNS": "100"},
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise StationError(f"the demo's inspector could not be fitted: {reason}")
        return self._folder

    @contextmanager
    def running(self, station: Station) -> Iterator[None]:
        """Inside the `with` block a new part comes every second.

        Args:
            station: takes them in, once it is ready.
        """
        stop = threading.Event()
        thread = threading.Thread(target=_run_line, args=(station, stop), name="line", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def draw_part(number: int) -> bytes:
    """The image of a part that comes down the line; about one in four has a defect.

    Args:
        number: of the part; the same one always looks the same.

    Returns:
        The bytes of a PNG file.
    """
    rng = np.random.default_rng((_SEED, number))
    if rng.random() > _DEFECTIVE:
        image = draw_good(PRODUCT, (_SEED, number))
    else:
        kinds = list(DESIGNS[PRODUCT].defects)
        image, _ = draw_defective(PRODUCT, str(rng.choice(kinds)), (_SEED, number))
    return encode_image(image, ".png")


def _run_line(station: Station, stop: threading.Event) -> None:
    number = 1 + sum(counts.received for counts in station.reader.counts())
    while not stop.wait(_EVERY_S):
        if not station.state.accepts:
            continue
        try:
            station.submit(
                draw_part(number),
                PRODUCT,
                source="demo",
                actor="line",
                name=f"{number:06d}.png",
                serial=f"HS-{number:06d}",
                lot=f"LOT-{1 + number // 500:03d}",
            )
        except FlawmapError as error:
            _log.warning("the line: %s", error)
        else:
            number += 1
