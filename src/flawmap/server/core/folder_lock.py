"""One station for a data folder at a time."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from flawmap.errors import RecordError, WriteError

_NAME = "lock"


class FolderLock:
    """Holds a folder until it is released or the process ends, however it ends.

    Args:
        folder: of the data, which is there.

    Raises:
        RecordError: another process holds it.
        WriteError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        file = folder / _NAME
        try:
            self._handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise WriteError(f"{file}: {error.strerror}") from error
        if not _try_lock(self._handle):
            os.close(self._handle)
            raise RecordError(
                f"{folder}: another station has this data folder; stop it, or name another one"
            )

    def release(self) -> None:
        """Let another process have the folder."""
        os.close(self._handle)


def _try_lock(handle: int) -> bool:
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
