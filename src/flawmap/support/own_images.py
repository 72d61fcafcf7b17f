"""The mark of the images that flawmap draws, by which no run takes them for images to inspect.

It is a text chunk of PNG, `Software: flawmap`, which image programs keep to themselves and drop
when they save the image again. It goes with the file wherever that is copied or renamed.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

_SIGNATURE_AND_HEADER = 33
"""Bytes of a PNG file before its second chunk."""

_TEXT = b"tEXtSoftware\0flawmap"
_MARK = struct.pack(">I", len(_TEXT) - 4) + _TEXT + struct.pack(">I", zlib.crc32(_TEXT))


def mark_png(data: bytes) -> bytes:
    """The same image with the mark.

    Args:
        data: bytes of a PNG file.
    """
    return data[:_SIGNATURE_AND_HEADER] + _MARK + data[_SIGNATURE_AND_HEADER:]


def is_own_image(file: Path) -> bool:
    """Whether a file is an image that flawmap drew: an overlay, curves, a figure.

    Args:
        file: of any kind. What is no PNG by its name is not opened, and what cannot be read is
            nobody's.

    Example:
        >>> is_own_image(Path("new.png"))
        False
    """
    if file.suffix != ".png":
        return False
    try:
        with file.open("rb", buffering=0) as stream:
            start = stream.read(_SIGNATURE_AND_HEADER + len(_MARK))
    except OSError:
        return False
    return start.endswith(_MARK)
