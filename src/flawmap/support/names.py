r"""Names of files as text, and names that a disk takes.

The name of a file is a row of bytes on Linux, and need not be text in any encoding. Python keeps
the bytes that are not as surrogates, which no UTF-8 file may hold. In what flawmap writes each of
them is four letters, `\xfc` for example.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path, PurePosixPath

_MAX_NAME_BYTES = 255
"""Longest name of a file that Linux, macOS and Windows take, in UTF-8."""

_NOT_TEXT = re.compile("[\udc80-\udcff]+")
"""The surrogates that Python has for bytes that are not text in this system's encoding."""


def as_text(name: str) -> str:
    r"""A name that UTF-8 can hold.

    Bytes that are UTF-8 become what they say, whatever encoding the system has; all others become
    `\xfc` and the like.

    Args:
        name: of a file, or a text with such names in it, as Python has them.

    Example:
        >>> as_text("gr\udcfcn.jpg"), as_text("\udce6\udc95\udca3.png")
        ('gr\\xfcn.jpg', '散.png')
    """
    return _NOT_TEXT.sub(_decode, name)


def on_disk(name: str) -> str:
    """A text as this system's Python names a file, whose name on the disk is UTF-8.

    Args:
        name: a text without surrogates.

    Example:
        >>> on_disk("散.png")
        '散.png'
    """
    return name if os.name == "nt" else os.fsdecode(name.encode())


def shorten_path(path: str, suffix: str) -> str:
    """A path with a suffix behind it, no part of which is longer than a disk takes.

    What is too long is cut and gets eight digits of its hash, so that different names stay
    different.

    Args:
        path: with slashes between its parts.
        suffix: comes behind the last part.

    Example:
        >>> shorten_path("a/b.jpg", ".png")
        'a/b.jpg.png'
        >>> name = shorten_path("x" * 300, ".png")
        >>> len(name), name[-13:]
        (255, '~0d4e2ca9.png')
    """
    *folders, name = PurePosixPath(path).parts
    name = shorten_name(name, _MAX_NAME_BYTES - len(suffix)) + suffix
    return "/".join([*map(shorten_name, folders), name])


def shorten_name(name: str, max_bytes: int = _MAX_NAME_BYTES) -> str:
    """A name of at most so many bytes in UTF-8; see `shorten_path`.

    Args:
        name: of a file or a folder.
        max_bytes: more than ten.

    Example:
        >>> shorten_name("a long name.png", 13)
        'a lo~9c5ad1ac'
    """
    data = name.encode("utf-8", "surrogateescape")
    if len(data) <= max_bytes:
        return name
    digits = hashlib.sha256(data).hexdigest()[:8]
    kept = data[: max_bytes - len(digits) - 1].decode("utf-8", "ignore")
    return f"{kept}~{digits}"


def with_suffix(path: Path, suffix: str) -> Path:
    """A path with a suffix behind its whole name, dots and all.

    `Path.with_suffix` would take the 2 of `part.v1.2` for a suffix and replace it.

    Args:
        path: without a suffix of its own.
        suffix: as `.csv`.

    Example:
        >>> with_suffix(Path("part.v1.2"), ".xml").name
        'part.v1.2.xml'
    """
    return path.with_name(path.name + suffix)


def _decode(match: re.Match[str]) -> str:
    return match[0].encode("ascii", "surrogateescape").decode("utf-8", "backslashreplace")
