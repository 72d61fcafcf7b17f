"""Files and folders that are never half written, and tables that grow by complete lines.

What `atomic_write` and `atomic_folder` write goes to a temporary file or folder beside the target,
and takes the target's name in one step when it is complete. Content and name are flushed to the
disk (fsync), so that this holds for a power cut too.

What `open_lines` writes is on the disk line by line instead: results of a long job must not wait
for its end.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import IO

from flawmap.errors import WriteError
from flawmap.support.signals import hold_signals
from flawmap.support.targets import resolve_target
from flawmap.support.temporary import make_temporary_file, make_temporary_folder

_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EACCES)
"""What a file system answers that cannot flush a folder."""

_completed: list[int] = [0]


def count_completed() -> int:
    """How many files and folders this process has put in their places, each of them complete."""
    return _completed[0]


@contextmanager
def atomic_write(file: Path) -> Iterator[IO[bytes]]:
    """Open a binary stream to `file`; the old content stands until the new one is complete.

    The file takes its place when the block ends well; when it raises, what was written is removed.
    Missing parent folders are made. A link stays, and what it points to is replaced. The new file
    has the mode of the old one. A file that is protected from writing is not replaced, not even by
    root.

    Args:
        file: to be written or replaced.

    Returns:
        A context manager that gives the stream.

    Raises:
        WriteError: there is no space or no permission, or the file is protected.

    >>> folder = getfixture("tmp_path")
    >>> with atomic_write(folder / "new" / "numbers") as stream:
    ...     _ = stream.write(b"123")
    >>> (folder / "new" / "numbers").read_bytes()
    b'123'
    """
    try:
        with _open_aside(resolve_target(file)) as stream:
            yield stream
    except OSError as error:
        kept = "what was there before still is"
        raise WriteError(f"{file}: could not be written ({error.strerror}); {kept}") from error
    _completed[0] += 1


@contextmanager
def _open_aside(target: Path) -> Iterator[IO[bytes]]:
    """A stream to a temporary file that takes the target's name; a device is written as it is."""
    target.parent.mkdir(parents=True, exist_ok=True)
    status = _status(target)
    if status and not stat.S_ISREG(status.st_mode):
        with target.open("wb") as stream:
            yield stream
        return
    with make_temporary_file(target) as (stream, temporary):
        yield stream
        stream.flush()
        os.fsync(stream.fileno())
        _adopt(temporary, status)
        if os.name == "nt":  # which renames no open file
            stream.close()
        temporary.replace(target)
    _sync_folder(target.parent)


def _status(target: Path) -> os.stat_result | None:
    try:
        return target.stat()
    except FileNotFoundError:
        return None


def _adopt(temporary: Path, status: os.stat_result | None) -> None:
    """Give a file the owner and the mode of the one that it replaces; a new one is as any other."""
    if status is None:
        temporary.chmod(0o666 & ~_umask())
        return
    if hasattr(os, "chown"):
        with suppress(OSError):  # Only root may give a file away.
            os.chown(temporary, status.st_uid, status.st_gid)
    temporary.chmod(stat.S_IMODE(status.st_mode))


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Make an empty folder to be filled, which becomes `folder` when the block ends well.

    When the block raises, the folder and what is in it are removed. Missing parent folders are
    made. `folder` itself may be there if it is empty.

    Args:
        folder: to be made.

    Returns:
        A context manager that gives the folder to fill.

    Raises:
        WriteError: there is something in `folder`, no space or no permission.

    >>> folder = getfixture("tmp_path") / "results"
    >>> with atomic_folder(folder) as temporary:
    ...     (temporary / "numbers").touch()
    >>> [path.name for path in folder.iterdir()]
    ['numbers']
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with make_temporary_folder(folder) as temporary:
            yield temporary
            temporary.chmod(0o777 & ~_umask())
            if folder.is_dir():
                folder.rmdir()
            temporary.rename(folder)
        _sync_folder(folder.parent)
    except OSError as error:
        raise WriteError(f"{folder}: could not be written ({error.strerror})") from error
    _completed[0] += 1


@contextmanager
def open_lines(file: Path, header: bytes = b"") -> Iterator[Callable[[bytes], None]]:
    r"""Replace a file by one that grows line by line, each on its own in the file at once.

    A process that is killed leaves all lines that it wrote, each of them complete; so does a full
    disk. Until the block begins, the old file stays as it is; then a file that holds the header
    takes its name in one step, so that lines of two runs never mix. At the end of the block the
    lines are flushed to the disk; a power cut before that may cost the last ones.

    Args:
        file: to be replaced; missing parent folders are made.
        header: first bytes of the file, with their line end.

    Returns:
        A context manager that gives a function, which appends a line with its line end.

    Raises:
        WriteError: there is no space or no permission.

    >>> file = getfixture("tmp_path") / "numbers"
    >>> with open_lines(file, b"number\n") as append:
    ...     append(b"1\n")
    ...     file.read_bytes()
    b'number\n1\n'
    """
    with hold_signals():
        stream = _begin_lines(file, header)

    def append(line: bytes) -> None:
        with _name_file(file):
            _append(stream, line)

    with stream:
        yield append
        with _name_file(file):
            os.fsync(stream.fileno())


def append_line(file: Path, line: bytes, *, flush: bool = False) -> None:
    r"""Append a line to a file, all of it or nothing.

    Args:
        file: may be new.
        line: with its line end.
        flush: whether it survives a power cut too.

    Raises:
        WriteError: there is no space or no permission; the lines before stay.

    >>> file = getfixture("tmp_path") / "journal"
    >>> append_line(file, b"1\n")
    >>> file.read_bytes()
    b'1\n'
    """
    with _name_file(file), FileIO(file, "a") as stream:
        _append(stream, line)
        if flush:
            os.fsync(stream.fileno())


def _begin_lines(file: Path, header: bytes) -> FileIO:
    """A stream to the end of a new file that has the name already."""
    handle = None
    try:
        with atomic_write(file) as start:
            start.write(header)
            start.flush()
            # By its name it might be the file of another process later, which writes there too.
            # Windows renames no file that has another handle.
            handle = None if os.name == "nt" else os.dup(start.fileno())
    except BaseException:
        if handle is not None:
            os.close(handle)
        raise
    with _name_file(file):
        return FileIO(file if handle is None else handle, "a")


@contextmanager
def _name_file(file: Path) -> Iterator[None]:
    """Turn what goes wrong with a growing file into an error that names it."""
    try:
        yield
    except OSError as error:
        kept = "the lines before are in it"
        raise WriteError(f"{file}: could not be written ({error.strerror}); {kept}") from error


def _append(stream: FileIO, line: bytes) -> None:
    """Append a line; where that fails, what was written of it is removed again."""
    end = stream.seek(0, os.SEEK_END)
    written = 0
    try:
        while written < len(line):
            written += stream.write(line[written:])
    except BaseException:
        stream.truncate(end)
        raise


def _sync_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk: a rename is in the folder, not in the file."""
    if os.name == "nt":  # Windows opens no folder; NTFS keeps a journal of names.
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        # Some network file systems cannot, or the folder may not be read; the file is in its place.
        if error.errno not in _NO_FOLDER_SYNC:
            raise


def _umask() -> int:
    # A temporary file is private; the finished one shall be as open as any other. The mask can
    # only be read by setting it.
    mask = os.umask(0)
    os.umask(mask)
    return mask
