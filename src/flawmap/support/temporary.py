"""Temporary files and folders beside what they are to become.

Each is locked by the process that fills it. A process that is killed leaves one behind, unlocked
and named `.NAME.RANDOM.flawmap.part`; the next run that writes there removes it.
"""

from __future__ import annotations

import glob
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from flawmap.support.names import shorten_name
from flawmap.support.signals import hold_signals

_SUFFIX = ".flawmap.part"
"""Ends the names of temporary files and folders; nobody else's end like that."""

_MAX_PREFIX_BYTES = 220
"""Leaves room for the suffix, and for what `tempfile` puts before it."""

_UNLOCKED_SECONDS = 86_400
"""Age from which on a temporary file is left over where no lock can tell."""

_EMPTY_SECONDS = 60
"""The same for an empty one: its process may not have locked it yet."""


@contextmanager
def make_temporary_file(target: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """Make a file beside a target, which the block renames; else it is removed.

    Args:
        target: what the file is to become; its folder is there.

    Returns:
        A context manager that gives the stream and the file's path.

    Raises:
        OSError: there is no space or no permission.
    """
    with hold_signals():
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=_prefix(target), suffix=_SUFFIX)
        temporary = Path(name)
        stream = os.fdopen(handle, "wb")
        _lock(handle)
    try:
        with stream:
            yield stream, temporary
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


@contextmanager
def make_temporary_folder(target: Path) -> Iterator[Path]:
    """Make a folder beside a target, which the block renames; else it is removed.

    Args:
        target: what the folder is to become; its parent is there.

    Returns:
        A context manager that gives the folder.

    Raises:
        OSError: there is no space or no permission.
    """
    with hold_signals():
        name = tempfile.mkdtemp(dir=target.parent, prefix=_prefix(target), suffix=_SUFFIX)
        handle = None if os.name == "nt" else os.open(name, os.O_RDONLY)
        if handle is not None:
            _lock(handle)
    try:
        yield Path(name)
    finally:
        shutil.rmtree(name, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def remove_leftovers(folder: Path, name: str = "") -> None:
    """Remove the temporary files and folders that killed processes left behind.

    What a process that runs is filling stays. What cannot be removed stays too; it harms nobody.

    Args:
        folder: where they are; need not be there. Folders in it are not entered.
        name: of what they were to become; empty for any.
    """
    pattern = f"{glob.escape(_prefix(Path(name)))}*{_SUFFIX}" if name else f".*{_SUFFIX}"
    with suppress(OSError):
        for path in list(folder.glob(pattern)):
            if not _is_abandoned(path):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _prefix(target: Path) -> str:
    return shorten_name(f".{target.name}", _MAX_PREFIX_BYTES) + "."


def _is_abandoned(path: Path) -> bool:
    status = path.stat()
    age = time.time() - status.st_mtime
    if sys.platform == "win32":
        return age > _UNLOCKED_SECONDS
    if not status.st_size and age < _EMPTY_SECONDS:
        return False
    handle = os.open(path, os.O_RDONLY)
    try:
        return _lock(handle) or age > _UNLOCKED_SECONDS
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    """Whether an open file or folder is now locked by this process, until it is closed."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # Another process has it, or the file system has no locks.
        return False
    return True
