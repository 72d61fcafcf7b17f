"""How much a station takes in, and how it says no."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from flawmap.errors import FlawmapError
from flawmap.support.options import check_range

_GB = 10**9


class Refused(FlawmapError):
    """A part is not taken in; nothing of it is stored.

    Args:
        message: why, and what to do.
        status: of HTTP: 413, 429 or 503.
        retry_after: seconds after which it may be tried again; None where that is of no use.
    """

    def __init__(self, message: str, status: int, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


@dataclass(frozen=True)
class Limits:
    """How much a station takes in.

    Args:
        image_bytes: largest image file.
        waiting: most parts without a verdict.
        rate: most images a second of one caller, on average over ten seconds.
        quota: most bytes of images and overlays; 0 for no limit but the disk.
        free_bytes: free disk below which nothing is taken in.

    Raises:
        OptionError: a value is out of its range.
    """

    image_bytes: int = 100_000_000
    waiting: int = 256
    rate: float = 200.0
    quota: int = 0
    free_bytes: int = 1_000_000_000

    def __post_init__(self) -> None:
        for name in ("image_bytes", "waiting"):
            check_range(self, name, 1)
        for name in ("quota", "free_bytes"):
            check_range(self, name, 0)

    def check_size(self, size: int) -> None:
        """Refuse an image that is too large.

        Args:
            size: of the file, in bytes.

        Raises:
            Refused: with status 413.
        """
        if size > self.image_bytes:
            raise Refused(
                f"an image of {size / 1e6:.1f} MB; at most {self.image_bytes / 1e6:.1f} MB are "
                "taken (--largest-image)",
                413,
            )

    def check_waiting(self, waiting: int) -> None:
        """Refuse a part where too many wait.

        Args:
            waiting: parts without a verdict.

        Raises:
            Refused: with status 503.
        """
        if waiting >= self.waiting:
            raise Refused(f"{waiting} parts wait for their verdicts; send this again later", 503, 1)

    def room_problem(self, folder: Path, stored: int, size: int = 1) -> str:
        """Why there is no room for another image; empty where there is.

        Args:
            folder: of the data.
            stored: bytes of images and overlays that are there.
            size: of the image in bytes.
        """
        if self.quota and stored + size > self.quota:
            return (
                f"images take {stored / _GB:.2f} GB, and the quota is {self.quota / _GB:.2f} GB; "
                "delete old ones by flawmap record retain, or raise --quota"
            )
        free = shutil.disk_usage(folder).free
        if free < self.free_bytes:
            return (
                f"{free / _GB:.2f} GB of the disk are free, and {self.free_bytes / _GB:.2f} GB are "
                "to stay free; free some, or delete old images by flawmap record retain"
            )
        return ""

    def room_warning(self, folder: Path, stored: int) -> str:
        """A warning that room ends soon: nine tenths of the quota, or twice the free disk left.

        Args:
            folder: of the data.
            stored: bytes of images and overlays that are there.
        """
        if self.quota and stored >= 0.9 * self.quota:
            return f"images take {stored / self.quota:.0%} of the quota"
        free = shutil.disk_usage(folder).free
        if free < 2 * self.free_bytes:
            return f"{free / _GB:.2f} GB of the disk are free"
        return ""
