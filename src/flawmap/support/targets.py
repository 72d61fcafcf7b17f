"""Whether a place can be written, before any work is done for it."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path

from flawmap.errors import WriteError
from flawmap.support.temporary import remove_leftovers

_BLOCK = 4096
"""Bytes that a disk must take to count as one that can be written."""


def resolve_target(file: Path) -> Path:
    """The file that a path leads to, through links: what is to be replaced.

    Args:
        file: to be written; need not be there.

    Raises:
        WriteError: it is a folder, or protected from writing; root must heed that too.

    Example:
        >>> file = getfixture("tmp_path").resolve() / "numbers"
        >>> resolve_target(file) == file
        True
    """
    target = Path(os.path.realpath(file))
    try:
        status = target.stat()
    except (FileNotFoundError, NotADirectoryError):
        return target
    except OSError as error:
        raise WriteError(f"{file}: cannot be written ({error.strerror})") from error
    if stat.S_ISDIR(status.st_mode):
        raise WriteError(f"{file}: could not be written (it is a folder); name a file")
    if not status.st_mode & 0o222 or not os.access(target, os.W_OK):
        raise WriteError(
            f"{file}: could not be written (it is protected from writing); allow it with chmod u+w "
            "or name another file"
        )
    return target


def check_file_target(file: Path) -> None:
    """Nothing, where a file can be written; what a killed run left of it there is removed.

    Args:
        file: to be written later; missing folders are made then.

    Raises:
        WriteError: it cannot be written: a folder, protected, on a disk that is full or read-only.

    Example:
        >>> check_file_target(getfixture("tmp_path") / "new" / "part.flawmap")
    """
    target = resolve_target(file)
    if not target.exists() or target.is_file():
        _probe(file, target.parent)
        remove_leftovers(target.parent, target.name)


def check_folder_target(folder: Path) -> None:
    """Nothing, where files can be written to a folder; what killed runs left there is removed.

    Args:
        folder: for files that come later; made then where it is missing.

    Raises:
        WriteError: it is a file, or on a disk that is full or read-only.

    Example:
        >>> check_folder_target(getfixture("tmp_path") / "results")
    """
    _probe(folder, Path(os.path.realpath(folder)))
    remove_leftovers(folder)


def _probe(wanted: Path, folder: Path) -> None:
    """Write to a folder, or to the one that is there of those above it, and leave nothing."""
    try:
        while not os.path.lexists(folder) and folder != folder.parent:
            folder = folder.parent
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{folder} is no folder")
        with tempfile.TemporaryFile(dir=folder, buffering=0) as stream:
            stream.write(bytes(_BLOCK))
    except OSError as error:
        raise WriteError(f"{wanted}: could not be written ({error.strerror})") from error
