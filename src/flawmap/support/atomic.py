"""Files and folders that are never half written."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from flawmap.errors import WriteError


@contextmanager
def atomic_write(file: Path) -> Iterator[IO[bytes]]:
    """Open `file` for writing such that the old content stands until the new one is complete.

    What is written goes to a file beside it, which takes its place when the block ends well and is removed otherwise.
    The folder is made where it is missing.

    Raises:
        WriteError: there is no space or no permission.
    """
    try:
        with _aside(file) as stream:
            yield stream
    except OSError as error:
        message = f"{file}: could not be written ({error.strerror}); what was there before still is"
        raise WriteError(message) from error


@contextmanager
def _aside(file: Path) -> Iterator[IO[bytes]]:
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.", suffix=".part")
    aside = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        aside.chmod(0o666 & ~_umask())
        aside.replace(file)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder to fill, which becomes `folder` when the block ends well and is removed otherwise.

    `folder` itself may be there if it is empty.

    Raises:
        WriteError: there is something in it, no space or no permission.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".part"))
        try:
            yield aside
            aside.chmod(0o777 & ~_umask())
            if folder.is_dir():
                folder.rmdir()
            aside.rename(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise WriteError(f"{folder}: could not be written ({error.strerror})") from error


def _umask() -> int:
    # A temporary file is private; the finished one shall be as open as any other. The mask can only be read by setting.
    mask = os.umask(0)
    os.umask(mask)
    return mask
