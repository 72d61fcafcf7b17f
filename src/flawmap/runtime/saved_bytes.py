"""The bytes of a saved file, as many as its header says that there are."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path
from typing import BinaryIO

from flawmap.errors import BundleError, OptionError

_LONGEST_HEADER = 100_000_000
"""Bytes of a header, as safetensors limits them."""

_MOST_BYTES = 2**36
"""What is larger is no inspector: 64 GB, more than a hundred times the largest."""


def as_path(file: object) -> Path:
    """The path of a saved file, as Python users have paths.

    Args:
        file: a text, bytes or a `Path`.

    Raises:
        OptionError: it is none of these.

    Example:
        >>> as_path(b"part.flawmap").name
        'part.flawmap'
    """
    try:
        return Path(os.fsdecode(file))  # type: ignore[arg-type]
    except TypeError as error:
        raise OptionError(
            f"{type(file).__name__} is no path; give the path of the file that `flawmap fit` wrote"
        ) from error


def read_saved(file: Path) -> bytes:
    """All bytes of a saved file.

    A header that is longer than the file is refused before the rest is read. A pipe is read to its
    end.

    Args:
        file: its path.

    Raises:
        BundleError: it is missing, cannot be read, or is no saved file by its size.

    Example:
        >>> file = getfixture("tmp_path") / "part.flawmap"
        >>> _ = file.write_bytes(bytes(8) + b"{}")
        >>> len(read_saved(file))
        10
    """
    try:
        with file.open("rb") as stream:
            status = os.fstat(stream.fileno())
            if stat.S_ISFIFO(status.st_mode):
                return stream.read()
            if not stat.S_ISREG(status.st_mode):
                raise BundleError(f"{file}: is a device, not a file that flawmap saved")
            return _read(stream, status.st_size, file)
    except OSError as error:
        raise BundleError(f"{file}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # A name with a zero byte.
        raise BundleError(f"{str(file)!r}: cannot be read ({error})") from error


def _read(stream: BinaryIO, size: int, file: Path) -> bytes:
    start = stream.read(8)
    header = struct.unpack("<Q", start)[0] if len(start) == 8 else size
    if header > min(size, _LONGEST_HEADER) or size > _MOST_BYTES:
        raise BundleError(f"{file}: damaged, or not a file that flawmap saved")
    return start + stream.read()
