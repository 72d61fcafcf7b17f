"""A folder for files that are needed for a moment, on a disk that has room for them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flawmap.errors import WriteError

_OTHER_FOLDERS = ("/dev/shm", "/var/tmp", ".")
"""Where else there may be room: in memory, on the disk, where the user works."""


@contextmanager
def temporary_folder(needed_bytes: int) -> Iterator[Path]:
    """Make a folder, which goes with all that is in it at the end of the block.

    It is in the system's folder for temporary files, which TMPDIR names, or elsewhere if there is
    no room.

    Args:
        needed_bytes: room that its files will take.

    Returns:
        A context manager that gives the folder.

    Raises:
        WriteError: there is no such room anywhere.

    >>> with temporary_folder(100) as folder:
    ...     (folder / "numbers").touch()
    """
    with tempfile.TemporaryDirectory(dir=_with_room(needed_bytes), prefix="flawmap-") as name:
        yield Path(name)


def _with_room(needed_bytes: int) -> str:
    reasons = []
    for folder in (_default_folder(), *_OTHER_FOLDERS):
        try:
            free = shutil.disk_usage(folder).free
            if free >= needed_bytes:
                with tempfile.TemporaryFile(dir=folder):
                    return folder
            reasons.append(f"{folder} has {free / 1e6:.1f} MB")
        except OSError as error:
            reasons.append(f"{folder}: {error.strerror}")
    raise WriteError(
        f"a temporary file of {needed_bytes / 1e6:.1f} MB has no room ({', '.join(reasons)}); set "
        "TMPDIR to a folder that has"
    )


def _default_folder() -> str:
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:  # None of the system's folders can be written.
        return "."
