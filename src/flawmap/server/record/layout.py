"""Where things lie in a station's data folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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
