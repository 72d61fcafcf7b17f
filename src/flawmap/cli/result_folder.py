"""The folder that `flawmap inspect` fills: two tables, a report, and overlays that the tables name.

A new run replaces an old one whole: what the old table names goes before the first new row.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from flawmap.errors import WriteError
from flawmap.support.names import on_disk
from flawmap.support.signals import hold_signals
from flawmap.support.targets import check_file_target, check_folder_target
from flawmap.support.temporary import remove_leftovers

if TYPE_CHECKING:
    from flawmap.runtime.record import Record

OVERLAYS = "overlays"
"""Folder of the overlays, below that of the results."""

REPORT = "report.html"
"""The page, in the folder of the results."""

_CSV = "results.csv"
_JSONL = "results.jsonl"


def check_results(folder: Path) -> None:
    """Nothing, where results can be written to a folder.

    Args:
        folder: that the user named; made later where it is missing.

    Raises:
        WriteError: it cannot be written.
    """
    check_folder_target(folder)
    for name in (_CSV, _JSONL, REPORT):
        check_file_target(folder / name)


@contextmanager
def open_results(folder: Path) -> Iterator[Callable[[Record], None]]:
    """Replace the results in a folder by tables that grow, each record in both of them at once.

    Args:
        folder: of the results; made where it is missing.

    Returns:
        A context manager that gives a function, which adds a record.

    Raises:
        WriteError: there is no space or no permission.
    """
    from flawmap.runtime.record import CSV_COLUMNS
    from flawmap.support.tables import stream_csv, stream_jsonl

    _remove_old_results(folder)
    with (
        stream_csv(folder / _CSV, CSV_COLUMNS) as to_csv,
        stream_jsonl(folder / _JSONL) as to_jsonl,
    ):

        def write(record: Record) -> None:
            with hold_signals():
                to_jsonl(record.to_dict())
                to_csv(record.to_csv_row())

        yield write


def overlay_file(folder: Path, overlay: str) -> Path:
    """The file of an overlay.

    Args:
        folder: of the results.
        overlay: as the tables name it.

    Example:
        >>> overlay_file(Path("results"), "overlays/a.png.png").as_posix()
        'results/overlays/a.png.png'
    """
    return folder / on_disk(overlay)


def _remove_old_results(folder: Path) -> None:
    """Remove overlays, report and tables of an earlier run, and nothing that it did not write.

    The table that names the overlays goes last, so that a run that is killed meanwhile leaves the
    rest to the next one.
    """
    try:
        for overlay in _old_overlays(folder / _JSONL):
            _remove_overlay(folder, overlay)
        for parent, _, _ in os.walk(folder / OVERLAYS):
            remove_leftovers(Path(parent))
        for name in (REPORT, _CSV, _JSONL):
            if not (folder / name).is_symlink():  # A link stays, and its target is replaced.
                (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise WriteError(f"{folder}: old results cannot be removed ({error.strerror})") from error


def _old_overlays(table: Path) -> Iterator[str]:
    """The overlays that a table names, if it is one of flawmap's."""
    try:
        lines = table.read_bytes().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return
    for line in lines:
        with suppress(ValueError):
            row = json.loads(line)
            if isinstance(row, dict) and "scorer_sha256" in row and _is_below(row.get("overlay")):
                row["overlay"].encode()
                yield row["overlay"]


def _is_below(overlay: object) -> bool:
    """Whether a row names a file below the folder of overlays, and nothing above it."""
    if not isinstance(overlay, str) or "\0" in overlay:
        return False
    parts = PurePosixPath(overlay).parts
    return len(parts) > 1 and parts[0] == OVERLAYS and ".." not in parts


def _remove_overlay(folder: Path, overlay: str) -> None:
    """Remove an overlay, and the folders that are empty without it."""
    file = overlay_file(folder, overlay)
    with suppress(FileNotFoundError, NotADirectoryError):
        file.unlink()
    for parent in file.parents:
        if parent == folder:
            break
        try:
            parent.rmdir()
        except OSError:  # It is not empty.
            break
