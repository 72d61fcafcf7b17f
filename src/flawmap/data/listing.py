"""The images of a folder and below it, without what systems and flawmap itself put there."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from flawmap.runtime.images.image_formats import SUFFIXES, why_unread
from flawmap.support.own_images import is_own_image

_SYSTEM_FOLDERS = frozenset(
    {
        *("$recycle.bin", "recycler", "recycled", "system volume information", "lost+found"),
        *("@eadir", "@tmp", "@recycle", "@recently-snapshot", "@__thumb", "@sharebin"),
        *("#recycle", "#snapshot", "~snapshot", "__macosx", "__pycache__", "dfsrprivate"),
        *("network trash folder", "temporary items", "thevolumesettingsfolder"),
    }
)
"""Made by Windows, by storage boxes, by macOS and by what unpacks its archives."""

_SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})

_OWN = "drawn by flawmap"
"""Stands for a suffix where images are counted that are none to inspect."""


class _Entries(NamedTuple):
    """What a folder holds, by name; see `Folder`."""

    images: list[str]
    folders: list[os.DirEntry[str]]
    passed_over: Counter[str]
    special: list[str]
    error: str = ""


class Folder:
    """A folder whose entries are read when they are first asked for.

    Hidden files and folders, folders that systems, storage boxes and archivers make for themselves,
    and images that flawmap wrote, are no part of it. Links are followed; a link to a folder above
    it is left out.

    Args:
        path: of the folder.
        parts: names of the folders from the one that the user named down to this one.
        above: the folder that holds it; None for the one that the user named.

    Example:
        >>> root = getfixture("tmp_path")
        >>> (root / "day 1").mkdir()
        >>> _ = (root / "day 1" / "a.png").write_bytes(b"")
        >>> [folder.name for folder in Folder(root).folders], Folder(root).folders[0].images
        (['day 1'], ['a.png'])
    """

    def __init__(
        self, path: Path, parts: tuple[str, ...] = (), above: Folder | None = None
    ) -> None:
        self.path = path
        self.parts = parts
        self._above = above
        self._is_link = False

    @property
    def name(self) -> str:
        """Name of the folder; of the one that the user named, its real one."""
        return self.parts[-1] if self.parts else self.path.resolve().name

    @property
    def images(self) -> list[str]:
        """Names of the images in it, sorted; a link that leads nowhere is among them."""
        return self._entries.images

    @property
    def passed_over(self) -> Counter[str]:
        """Number of the files that are no images, by suffix in lower case."""
        return self._entries.passed_over

    @property
    def special(self) -> list[str]:
        """Names of pipes, sockets and devices that are named as images, and of links to nothing."""
        return self._entries.special

    @property
    def error(self) -> str:
        """Why its entries cannot be read; empty where they can."""
        return self._entries.error

    @cached_property
    def folders(self) -> list[Folder]:
        """The folders in it, by name."""
        inner = []
        for entry in self._entries.folders:
            folder = Folder(self.path / entry.name, (*self.parts, entry.name), self)
            folder._is_link = entry.is_symlink()
            if not (folder._is_link and folder._is_above_itself()):
                inner.append(folder)
        return inner

    def walk(self) -> list[Folder]:
        """This folder and all below it, each once, in the order of their paths.

        What a link shows again is left out; where two links show one folder, the first counts.
        """
        seen: set[tuple[int, int]] = set()
        folders: list[Folder] = []
        waiting, links = [self], list[Folder]()
        while waiting or links:
            folder = waiting.pop() if waiting else links.pop(0)
            if folder._identity in seen:
                continue
            seen.add(folder._identity)
            folders.append(folder)
            links += [inner for inner in folder.folders if inner._is_link]
            waiting += [inner for inner in folder.folders if not inner._is_link]
        return sorted(folders, key=lambda folder: folder.parts)

    @cached_property
    def _identity(self) -> tuple[int, int]:
        try:
            status = self.path.stat()
        except OSError:
            return -1, id(self)
        return status.st_dev, status.st_ino

    def _is_above_itself(self) -> bool:
        above = self._above
        while above is not None:
            if above._identity == self._identity:
                return True
            above = above._above
        return False

    @cached_property
    def _entries(self) -> _Entries:
        found = _Entries([], [], Counter(), [])
        try:
            with os.scandir(self.path) as entries:
                by_name = {entry.name: entry for entry in entries if not _is_hidden(entry.name)}
        except OSError as error:
            return found._replace(error=error.strerror or str(error))
        for name in sorted(by_name):
            _sort_in(by_name[name], found)
        return found


def passed_over(folders: Iterable[Folder]) -> list[str]:
    """A line that says how many files are no images, with their suffixes; none where all are.

    Args:
        folders: whose files count.
    """
    suffixes: Counter[str] = Counter()
    for folder in folders:
        suffixes += folder.passed_over
    if not suffixes:
        return []
    by_count = sorted(suffixes.items(), key=lambda item: (-item[1], item[0]))
    listed = ", ".join(f"{suffix or 'no suffix'} ({count})" for suffix, count in by_count)
    verb = "file is no image and is" if suffixes.total() == 1 else "files are no images and are"
    reasons = [reason for suffix in suffixes if (reason := why_unread(suffix))]
    return ["; ".join([f"{suffixes.total()} {verb} passed over: {listed}", *reasons])]


def unusable(folders: Iterable[Folder]) -> list[str]:
    """A line for each thing that cannot be used: closed folders, pipes, links to nothing.

    Args:
        folders: that are looked into.
    """
    lines = []
    for folder in folders:
        if folder.error:
            lines.append(f"{folder.path}: the folder cannot be read ({folder.error})")
        for name in folder.special:
            kind = "a link to nothing" if (folder.path / name).is_symlink() else "no regular file"
            lines.append(f"{folder.path / name}: {kind}, so it was not opened")
    return lines


def counting_suffixes() -> str:
    """The suffixes that make a file an image, for messages."""
    return ", ".join(sorted(SUFFIXES))


def _is_hidden(name: str) -> bool:
    # "._x.png" is what macOS leaves beside x.png on foreign disks.
    plain = name.casefold()
    is_system = plain in _SYSTEM_FOLDERS or plain in _SYSTEM_FILES
    return name.startswith(".") or is_system or bool(re.fullmatch(r"found\.\d{3}", plain))


def _sort_in(entry: os.DirEntry[str], found: _Entries) -> None:
    stem, dot, end = entry.name.rpartition(".")
    suffix = (dot + end).lower() if stem else ""
    is_dead_link = _is_dead_link(entry)
    if not is_dead_link and entry.is_dir():
        found.folders.append(entry)
    elif suffix not in SUFFIXES:
        if is_dead_link and not suffix:
            found.special.append(entry.name)
        else:
            found.passed_over[suffix] += 1
    elif is_own_image(Path(entry.path)):
        found.passed_over[_OWN] += 1
    elif is_dead_link or entry.is_file():
        # Reading a dead link says what is wrong; reading a pipe would wait forever.
        found.images.append(entry.name)
    else:
        found.special.append(entry.name)


def _is_dead_link(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_symlink() and not entry.stat()
    except OSError:
        return True
