"""A station to look at: drawn parts come by themselves, and an inspector is fitted first."""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from numpy.random import default_rng

from flawmap.errors import FlawmapError, WriteError
from flawmap.render.encode import encode_image
from flawmap.runtime.image_types import ImageU8
from flawmap.server.core.station import Station
from flawmap.support.optional_deps import explain_import_error
from flawmap.synthetic.heatsink import ImageCounts, draw_defective, draw_good, write_heatsinks
from flawmap.synthetic.heatsink_damage import DAMAGES

_log = logging.getLogger(__name__)

PRODUCT = "heatsink"
"""Name of the product that the demo inspects."""

_DESIGN = "White"
_TRAIN_GOOD = 60
_FALSE_REJECTS = 0.02
"""The least that so few good images can promise."""

_ONE_DEFECTIVE_IN = 4
_MOST_WAITING = 4
_STREAM = 1
"""Of the seeds of parts: other ones than those of the good images to fit to."""


class Demo:
    """Good heat sinks to fit to, and a line on which more of them come.

    Args:
        folder: of the station's data; the inspector is kept in its folder `demo`.
        every_s: seconds between two parts.

    Example::

        demo = Demo(Path("data"))
        with Station(Path("data"), inspectors=demo.inspectors()) as station, demo.running(station):
            ...
    """

    def __init__(self, folder: Path, every_s: float = 1.0) -> None:
        self._folder = folder / "demo"
        self._every_s = every_s

    def inspectors(self) -> Path:
        """The folder with the inspector, which is fitted the first time: about half a minute.

        Raises:
            MissingExtra: it is not fitted yet, and what fits is not installed.
            FlawmapError: it could not be fitted, with what the child process said.
        """
        file = self._folder / f"{PRODUCT}.flawmap"
        if not file.is_file():
            _check_can_fit()
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                with TemporaryDirectory(dir=self._folder) as scratch:
                    _fit_new(Path(scratch)).replace(file)
            except OSError as error:
                raise WriteError(f"{self._folder}: {error.strerror}") from error
        return self._folder

    @contextmanager
    def running(self, station: Station) -> Iterator[None]:
        """Inside the `with` block parts are submitted by a thread of their own.

        Args:
            station: that inspects them; while it takes nothing in, the line stands still.
        """
        stop = threading.Event()
        thread = threading.Thread(
            target=self._submit_all, args=(station, stop), name="demo", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _submit_all(self, station: Station, stop: threading.Event) -> None:
        number = 1 + sum(one.received for one in station.reader.counts() if one.product == PRODUCT)
        while not stop.wait(self._every_s):
            if not station.state.accepts or station.judge.waiting >= _MOST_WAITING:
                continue
            try:
                station.submit(
                    encode_image(draw_part(number), ".png"),
                    PRODUCT,
                    source="demo",
                    actor="demo",
                    serial=f"HS-{number:06}",
                    lot=f"L{number // 100:04}",
                )
            except FlawmapError as error:
                _log.warning("the demo's part %d was not taken in: %s", number, error)
                continue
            number += 1


def draw_part(number: int) -> ImageU8:
    """A heat sink, of which one in four has a defect.

    Args:
        number: of the part, from 0; the same number draws the same part.

    Example:
        >>> draw_part(1).shape
        (224, 224, 3)
    """
    defect_type = defect_of(number)
    seed = (_STREAM, number)
    if not defect_type:
        return draw_good(_DESIGN, seed)
    image, _ = draw_defective(_DESIGN, defect_type, seed)
    return image


def defect_of(number: int) -> str:
    """The type of a part's defect; empty for a good part.

    Args:
        number: of the part, from 0.

    Example:
        >>> sum(bool(defect_of(number)) for number in range(40))
        10
    """
    block, place = divmod(number, _ONE_DEFECTIVE_IN)
    rng = default_rng((_STREAM, block))
    if place != rng.integers(_ONE_DEFECTIVE_IN):
        return ""
    return sorted(DAMAGES)[int(rng.integers(len(DAMAGES)))]


def _check_can_fit() -> None:
    for module in ("torch", "timm", "einops"):
        if importlib.util.find_spec(module) is None:
            raise explain_import_error(ImportError(f"no module {module}", name=module))


def _fit_new(folder: Path) -> Path:
    """An inspector of good heat sinks that are drawn here."""
    write_heatsinks(folder, {_DESIGN: ImageCounts(_TRAIN_GOOD, 0, 0)})
    file = folder / f"{PRODUCT}.flawmap"
    _fit(folder / _DESIGN, file)
    return file


def _fit(images: Path, file: Path) -> None:
    """Fit in a process of its own, as what inspects loads no torch."""
    command = [sys.executable, "-m", "flawmap", "fit", str(images), "--output", str(file)]
    command += ["--preset", "fast", "--false-rejects", str(_FALSE_REJECTS), "--quiet"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise FlawmapError(f"the demo's inspector could not be fitted: {said}")
