"""Images and overlays as files by their hash, each on the disk before anything names it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from flawmap.errors import RecordError, WriteError
from flawmap.support.atomic import atomic_write

Category = Literal["image", "overlay"]

_SHA256 = re.compile(r"[0-9a-f]{64}")


class FileStore:
    """The stored files of a data folder: `image/ab/cd/SHA256` and `overlay/ab/cd/SHA256`.

    Args:
        folder: made where it is missing.
        on_new: called with the size of each file that was not there before, in bytes.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = FileStore(Path(folder))
        ...     sha256 = store.store(b"abc", "image")
        ...     store.read(sha256, "image")
        b'abc'
    """

    def __init__(self, folder: Path, on_new: Callable[[int], None] = lambda _: None) -> None:
        self.folder = folder
        self._on_new = on_new

    def store(self, data: bytes, category: Category) -> str:
        """Have bytes on the disk, and give their hash.

        Args:
            data: of the file.
            category: what it is.

        Returns:
            SHA-256 of the bytes, 64 hexadecimal digits.

        Raises:
            WriteError: the disk does not take them.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        file = self.path(sha256, category)
        try:
            if file.is_file() and file.stat().st_size == len(data):
                return sha256
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WriteError(f"{file}: {error.strerror}") from error
        with atomic_write(file) as stream:
            stream.write(data)
        self._on_new(len(data))
        return sha256

    def path(self, sha256: str, category: Category) -> Path:
        """Where a file is, or would be.

        Args:
            sha256: of its bytes.
            category: what it is.

        Raises:
            RecordError: that is no hash, so that no name from outside leads out of the folder.
        """
        if not _SHA256.fullmatch(sha256):
            raise RecordError(f"{sha256[:80]!r} is no SHA-256")
        return self.folder / category / sha256[:2] / sha256[2:4] / sha256

    def read(self, sha256: str, category: Category) -> bytes:
        """The bytes of a file, which are those that were stored.

        Args:
            sha256: of its bytes.
            category: what it is.

        Raises:
            RecordError: it is missing, or has other bytes.
        """
        file = self.path(sha256, category)
        try:
            data = file.read_bytes()
        except OSError as error:
            raise RecordError(f"{file}: {error.strerror}") from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise RecordError(f"{file}: has other bytes than were stored")
        return data

    def delete(self, sha256: str, category: Category) -> None:
        """Remove a file; one that is gone is no error.

        Args:
            sha256: of its bytes.
            category: what it is.

        Raises:
            WriteError: it cannot be removed.
        """
        file = self.path(sha256, category)
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise WriteError(f"{file}: {error.strerror}") from error
