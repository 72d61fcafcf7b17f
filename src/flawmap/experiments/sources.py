"""Where a table's pictures come from: the user's folder, or a set by name."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from flawmap.data import elpv, heatsink
from flawmap.errors import OptionError

HEAT_SINKS = "heatsinks"


def _draw(folder: Path) -> None:
    heatsink.write(folder, heatsink.PAPER)


NAMED: dict[str, Callable[[Path], None]] = {HEAT_SINKS: _draw, "elpv": elpv.write}
"""Data sets that flawmap makes: drawn heat sinks, as many as the paper has; solar cells from a PyPI package."""


def find_source(name: str, folder: Path) -> Path:
    """Give the folder of a data set; one of `NAMED` is made in `folder` unless it is there.

    Raises:
        OptionError: no such folder, and no such name.
        MissingExtra: the package that holds it is not installed.
    """
    if name not in NAMED:
        if not Path(name).exists():
            raise OptionError(f"{name}: no such folder; name one, or {' or '.join(NAMED)}")
        return Path(name)
    place = folder / name
    if not place.exists():
        folder.mkdir(parents=True, exist_ok=True)
        # Made aside, so that what is there is whole.
        with tempfile.TemporaryDirectory(dir=folder) as aside:
            NAMED[name](Path(aside, name))
            shutil.move(Path(aside, name), place)
    return place
