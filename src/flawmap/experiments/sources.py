"""Where a table's pictures come from: the user's folder, or a set by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flawmap.data import elpv, heatsink
from flawmap.errors import OptionError
from flawmap.files import folder_aside

HEAT_SINKS = "heatsinks"


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
    NAMED[name](folder / name)
    return folder / name


def _draw(folder: Path) -> None:
    if not folder.exists():
        with folder_aside(folder) as aside:
            heatsink.write(aside, heatsink.PAPER)


NAMED: dict[str, Callable[[Path], None]] = {HEAT_SINKS: _draw, "elpv": elpv.write}
"""Data sets that flawmap makes: drawn heat sinks, as many as the paper has; solar cells from a PyPI package."""
