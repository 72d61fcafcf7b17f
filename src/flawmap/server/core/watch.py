"""Watches folders: each image file that comes is recorded, and then moved away.

What a scan finds is the truth. Events of the operating system only wake the scanner, since they are
missing on network shares, and say nothing of when a file is whole.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from flawmap.errors import FlawmapError, ImageError, OptionError, WriteError
from flawmap.runtime.images.decode import decode
from flawmap.server.core.inspectors import check_product
from flawmap.server.core.limits import Refused
from flawmap.server.core.station import Station
from flawmap.support.atomic import atomic_write
from flawmap.support.names import as_text

_log = logging.getLogger(__name__)

_WHOLE = ".done"
"""Ends the name of an empty file that says that the image beside it is whole."""

_REASON = ".reason.txt"
_UNREADABLE = "unreadable"
_PARTIAL = (".tmp", ".part", ".partial", ".crdownload", ".filepart")
"""Ends the names of files that are being written; they are renamed when they are whole."""

_SCAN_S = 1.0
"""Longest time between two scans; events only shorten it."""

_AGAIN_S = 1.0
"""A file that was refused is tried again after this."""


@dataclass(frozen=True)
class Watch:
    """A folder whose files are parts of a product.

    Args:
        folder: where they come; its subfolders too.
        product: what they are.
        done: where they go once they are recorded: `done/PRODUCT/`, and `done/unreadable/` for what
            is no image.

    Raises:
        OptionError: that is no name for a product, or files would come back where they come from.
    """

    folder: Path
    product: str
    done: Path

    def __post_init__(self) -> None:
        check_product(self.product)
        if self.done.resolve().is_relative_to(self.folder.resolve()):
            raise OptionError(
                f"{self.done}: lies in {self.folder}, which is watched; name a folder elsewhere"
            )


class _Look(NamedTuple):
    """What a file looked like.

    Args:
        size: in bytes.
        mtime_ns: of its last change.
        since: monotonic time since when it looks so.
    """

    size: int
    mtime_ns: int
    since: float


@dataclass
class _Folder:
    watch: Watch
    looks: dict[Path, _Look] = field(default_factory=dict)
    not_before: dict[Path, float] = field(default_factory=dict)


class FolderWatcher:
    """Takes parts from folders in a thread of its own; a context manager.

    Args:
        station: takes them in.
        watches: the folders.
        settle: seconds for which a file must not change before it is taken.
        patience: seconds after which a file that is no image is taken for good; before that its
            writer may only be slow.
        events: yields whenever something changed, to wake the scanner; None for watchfiles.
    """

    def __init__(
        self,
        station: Station,
        watches: Iterable[Watch],
        *,
        settle: float = 1.0,
        patience: float = 10.0,
        events: Callable[[list[Path], threading.Event], Iterator[object]] | None = None,
    ) -> None:
        self._station = station
        self._folders = [_Folder(watch) for watch in watches]
        self._settle = settle
        self._patience = patience
        self._events = events or _system_events
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._threads = [
            threading.Thread(target=target, name=name, daemon=True)
            for name, target in (("watch", self._run), ("watch-events", self._listen))
        ]

    def __enter__(self) -> FolderWatcher:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._wake.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            for folder in self._folders:
                try:
                    self._scan(folder)
                except (
                    Exception
                ) as error:  # else the thread would be gone, and nothing would say so
                    _log.exception("watching %s failed", folder.watch.folder)
                    key = f"watch {folder.watch.folder}"
                    self._station.note_warning(key, f"{folder.watch.folder}: {error}")
            # Woken at once by an event; then a file is looked at again after it settled.
            self._wake.wait(min(_SCAN_S, self._settle))
            self._wake.clear()

    def _listen(self) -> None:
        paths = [folder.watch.folder for folder in self._folders]
        try:
            for _ in self._events(paths, self._stop):
                self._wake.set()
        except (OSError, ValueError, RuntimeError):
            # None on some shares, and none of names that are no text: scans alone find everything.
            _log.info("no events from %s; scanned every second", paths)

    def _scan(self, folder: _Folder) -> None:
        key = f"watch {folder.watch.folder}"
        try:
            found = dict(_files(folder.watch.folder))
        except OSError as error:
            self._station.note_warning(key, f"{folder.watch.folder}: {error.strerror}")
            return
        self._station.clear_warning(key)
        now = time.monotonic()
        for gone in folder.looks.keys() - found.keys():
            del folder.looks[gone]
            folder.not_before.pop(gone, None)
        for path, status in sorted(found.items(), key=lambda item: item[1].st_mtime_ns):
            if self._stop.is_set():
                return
            if self._is_due(folder, path, status, now):
                self._take(folder, path, status)

    def _is_due(self, folder: _Folder, path: Path, status: os.stat_result, now: float) -> bool:
        look = folder.looks.get(path)
        if look is None or (look.size, look.mtime_ns) != (status.st_size, status.st_mtime_ns):
            folder.looks[path] = look = _Look(status.st_size, status.st_mtime_ns, now)
            folder.not_before.pop(path, None)
        if folder.not_before.get(path, 0.0) > now:
            return False
        return now - look.since >= self._settle or path.with_name(path.name + _WHOLE).exists()

    def _take(self, folder: _Folder, path: Path, status: os.stat_result) -> None:
        """Record a file and move it; where that cannot be now, it stays for another time."""
        folder.not_before[path] = time.monotonic() + _AGAIN_S
        try:
            data = path.read_bytes()
            if len(data) != status.st_size:
                return  # it grows
            reason = _unreadable_reason(data)
            young = time.monotonic() - folder.looks[path].since < self._patience
            is_said_whole = path.with_name(path.name + _WHOLE).exists()
            if reason and young and not is_said_whole:
                return
            sha256 = hashlib.sha256(data).hexdigest()
            self._station.submit(
                data,
                folder.watch.product,
                source="watch",
                actor="watch",
                # A name need not be text in any encoding; the chain's events are.
                source_key=as_text(
                    f"{path.absolute()}|{status.st_size}|{status.st_mtime_ns}|{sha256}"
                ),
                name=as_text(path.name),
            )
            self._move(folder.watch, path, status, reason)
        except Refused:
            return  # full or not ready: the file waits where it is
        except FlawmapError as error:
            self._station.note_warning(f"file {path}", f"{path}: {error}")
        except OSError as error:
            self._station.note_warning(f"file {path}", f"{path}: {error.strerror}")
        else:
            self._station.clear_warning(f"file {path}")

    def _move(self, watch: Watch, path: Path, status: os.stat_result, reason: str) -> None:
        """Move a file that is recorded, and say beside it why it is no image, where it is none."""
        folder = watch.done / (_UNREADABLE if reason else watch.product)
        target = move_into(path, folder)
        if _version(target.stat()) != _version(status):
            # Overwritten since it was read: that is another part, which nobody has judged.
            move_into(target, path.parent)
            return
        if reason:
            with atomic_write(target.with_name(target.name + _REASON)) as stream:
                stream.write(reason.encode() + b"\n")
        with suppress(OSError):
            path.with_name(path.name + _WHOLE).unlink()


def move_into(path: Path, folder: Path) -> Path:
    """Move a file into a folder, also of another file system; nothing there is replaced.

    Args:
        path: of the file.
        folder: made where it is missing.

    Returns:
        Where it is now; with a number where the name was taken.

    Raises:
        WriteError: it cannot be written there; it is still where it was.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        target = _free_name(folder, path.name)
        try:
            path.rename(target)
        except OSError:
            _copy_over(path, target)
    except OSError as error:
        raise WriteError(f"{folder}: {error.strerror}") from error
    return target


def _copy_over(path: Path, target: Path) -> None:
    """Move a file to another file system."""
    before = path.stat()
    with path.open("rb") as source, atomic_write(target) as stream:
        shutil.copyfileobj(source, stream)
    os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
    if _version(path.stat()) != _version(before):
        target.unlink()
        raise WriteError(f"{path}: was written again while it was moved; it is looked at again")
    path.unlink()


def _version(status: os.stat_result) -> tuple[int, int]:
    """What differs between a file and the same one after it was written again."""
    return status.st_size, status.st_mtime_ns


def _free_name(folder: Path, name: str) -> Path:
    target = folder / name
    number = 1
    while target.exists():
        target = folder / f"{Path(name).stem}-{number}{Path(name).suffix}"
        number += 1
    return target


def _files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """The files that may be images, in a folder and in those below it."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith((".", "~")):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _files(Path(entry.path))
            elif _may_be_whole(entry.name):
                with suppress(FileNotFoundError):
                    yield Path(entry.path), entry.stat()


def _may_be_whole(name: str) -> bool:
    return not name.lower().endswith((*_PARTIAL, _WHOLE, _REASON, "~"))


def _unreadable_reason(data: bytes) -> str:
    """Why a file is no image; empty where it is one."""
    try:
        decode(data)
    except ImageError as error:
        return str(error).partition(": ")[2]
    return ""


def _system_events(paths: list[Path], stop: threading.Event) -> Iterator[object]:
    from watchfiles import watch

    yield from watch(*paths, stop_event=stop, raise_interrupt=False, step=50)
