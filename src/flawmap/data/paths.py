"""Paths as tables write them: relative, absolute, with backslashes; and which are of one file."""

from __future__ import annotations

import os
import re
from pathlib import Path

from flawmap.errors import DatasetError

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_WINDOWS = re.compile(r"[a-z]:[\\/]|\\\\", re.IGNORECASE)
"""A drive's letter, or the name of a server."""

_ESCAPED_BYTE = re.compile(r"\\udc([89a-f][0-9a-f])|\\x([89a-f][0-9a-f])")
"""A byte of a name that is no text, as flawmap's own tables write it."""


def resolve(text: str, folder: Path, place: str) -> Path:
    r"""The path that a cell of a table means; whether there is a file is not asked.

    Where there is no file of that very name, backslashes separate folders as on Windows.

    Args:
        text: the cell.
        folder: what relative paths are relative to.
        place: file and line, for messages.

    Raises:
        DatasetError: it is a URL, or an absolute path of another system.

    Example:
        >>> resolve("day 1\\a.png", Path("data"), "parts.csv, line 2").as_posix()
        'data/day 1/a.png'
    """
    if _URL.match(text):
        raise DatasetError(f"{place}: {text} is a URL; download the file and name its path")
    path = folder / text
    if os.name != "nt" and _WINDOWS.match(text) and not _exists(path):
        raise DatasetError(f"{place}: {text} is a path of Windows; write one of this machine")
    if "\\" not in text or _exists(path):
        return path
    unescaped = folder / _ESCAPED_BYTE.sub(_byte, text)
    if _exists(unescaped):
        return unescaped
    return folder / text.replace("\\", "/")


class FileKeys:
    """Gives equal keys to paths of one file, whichever folders and links they go by.

    Example:
        >>> keys = FileKeys()
        >>> keys.of(Path("a/../b.png")) == keys.of(Path("b.png"))
        True
    """

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def of(self, path: Path) -> tuple[str, str]:
        """The key of a path; a link to a file is a file of its own.

        Args:
            path: of a file that need not exist.
        """
        folder, name = os.path.split(path)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        return self._folders[folder], name


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # such as a name that is too long
        return False


def _byte(escaped: re.Match[str]) -> str:
    return chr(0xDC00 + int(escaped.group(1) or escaped.group(2), 16))
