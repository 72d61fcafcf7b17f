"""Where a table's images come from: the user's folder, or a set by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flawmap.data import elpv
from flawmap.errors import OptionError
from flawmap.support.atomic import atomic_folder
from flawmap.synthetic import heatsink

HEAT_SINKS = "heatsinks"


def resolve_dataset(name: str, folder: Path) -> Path:
    """Give the folder of a data set; one of `NAMED` is made in `folder` unless it is there.

    Raises:
        OptionError: no such folder, and no such name.
        MissingExtra: the package that holds it is not installed.
    """
    if name not in NAMED_DATASETS:
        if not Path(name).exists():
            raise OptionError(f"{name}: no such folder; name one, or {' or '.join(NAMED_DATASETS)}")
        return Path(name)
    NAMED_DATASETS[name](folder / name)
    return folder / name


def _draw(folder: Path) -> None:
    if not folder.exists():
        with atomic_folder(folder) as aside:
            heatsink.write_heatsinks(aside, heatsink.PAPER_COUNTS)


NAMED_DATASETS: dict[str, Callable[[Path], None]] = {HEAT_SINKS: _draw, "elpv": elpv.write_elpv}
"""Data sets that flawmap makes: drawn heat sinks, as many as the paper has.

Solar cells from a PyPI package.
"""
