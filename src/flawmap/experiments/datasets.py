"""The data set of a table or figure: a folder of the user's, or a set by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flawmap.data import elpv
from flawmap.errors import OptionError
from flawmap.support.atomic import atomic_folder
from flawmap.synthetic import heatsink


def resolve_dataset(name: str, folder: Path) -> Path:
    """The folder of a data set; one that has a name is made where it is not there yet.

    Args:
        name: path of a data set, or `heatsinks` (drawn, as many as the paper has), or `elpv`
            (solar cells from a package).
        folder: in which a set with a name is made, under that name.

    Raises:
        OptionError: no such folder, and no such name.
        MissingExtra: the package that holds the set is not installed.

    Example:
        >>> resolve_dataset(".", Path("tables/data"))
        PosixPath('.')
    """
    source = dataset_folder(name, folder)
    if name in _WRITERS:
        _WRITERS[name](source)
    return source


def dataset_folder(name: str, folder: Path) -> Path:
    """The folder of a data set, which need not be made yet where it has a name.

    Args:
        name: as `resolve_dataset` takes it.
        folder: in which a set with a name is made, under that name.

    Raises:
        OptionError: no such folder, and no such name.
        MissingExtra: the package that holds the set is not installed.

    Example:
        >>> dataset_folder("heatsinks", Path("tables/data"))
        PosixPath('tables/data/heatsinks')
    """
    if name == "elpv":
        elpv.installed_folder()
    if name in _WRITERS:
        return folder / name
    if not Path(name).exists():
        raise OptionError(f"{name}: no such folder; name one, or {' or '.join(_WRITERS)}")
    return Path(name)


def _draw_heatsinks(folder: Path) -> None:
    if not folder.exists():
        with atomic_folder(folder) as new_folder:
            heatsink.write_heatsinks(new_folder, heatsink.PAPER_COUNTS)


_WRITERS: dict[str, Callable[[Path], None]] = {
    "heatsinks": _draw_heatsinks,
    "elpv": elpv.write_elpv,
}
"""What makes each data set that has a name, unless it is there."""
