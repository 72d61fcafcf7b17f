"""Where things lie in a station's data folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flawmap.errors import WriteError
from flawmap.server.record.checkpoints import CHECKPOINTS
from flawmap.server.record.files import FileStore

FILES = "files"
"""Folder of images and overlays in a data folder."""

INSPECTORS = "inspectors"
"""Folder of inspectors in a data folder."""


@dataclass(frozen=True)
class DataFolder:
    """A station's data folder.

    Args:
        folder: that `flawmap serve` was given.

    Example:
        >>> DataFolder(Path("data")).inspectors.name
        'inspectors'
    """

    folder: Path

    @property
    def files(self) -> FileStore:
        """Images and overlays."""
        return FileStore(self.folder / FILES)

    @property
    def inspectors(self) -> Path:
        """Folder of the inspectors' files, by their hash."""
        return self.folder / INSPECTORS

    @property
    def checkpoints(self) -> Path:
        """The file of the checkpoints, where no other place is named."""
        return self.folder / CHECKPOINTS


def check_empty(folder: Path) -> None:
    """Refuse a folder that holds something, before hours are spent on filling it.

    Args:
        folder: missing or empty.

    Raises:
        WriteError: it is neither.
    """
    try:
        if folder.exists() and any(folder.iterdir()):
            raise WriteError(f"{folder}: is not empty; name a new folder")
    except OSError as error:
        raise WriteError(f"{folder}: {error.strerror}") from error
