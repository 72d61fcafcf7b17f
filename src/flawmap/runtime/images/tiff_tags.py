"""The tags of TIFF files, and of EXIF blocks, which are small TIFF files."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from enum import IntEnum

import numpy as np

from flawmap.errors import ImageError

Tags = Mapping[int, tuple[int, ...]]
"""The whole numbers of a page by the number of their tag; the bytes of a text likewise."""


class Tag(IntEnum):
    """Tags of a page that say how its pixels lie."""

    SUBFILE_TYPE = 254
    WIDTH = 256
    HEIGHT = 257
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    FILL_ORDER = 266
    DESCRIPTION = 270
    STRIP_OFFSETS = 273
    ORIENTATION = 274
    SAMPLES = 277
    STRIP_ROWS = 278
    STRIP_SIZES = 279
    PLANAR = 284
    PREDICTOR = 317
    TILE_WIDTH = 322
    TILE_HEIGHT = 323
    TILE_OFFSETS = 324
    TILE_SIZES = 325
    SAMPLE_FORMAT = 339


_REDUCED_OR_MASK = 0b101
"""Bits of the subfile type that mark a smaller version of another page, and a mask."""

# Of the types that the standard numbers, those of whole numbers, and texts as bytes.
_TYPES = {1: "u1", 2: "u1", 3: "u2", 4: "u4", 7: "u1", 13: "u4", 16: "u8", 18: "u8"}

_MAX_PAGES = 10_000


def read_tags(data: bytes) -> Tags:
    """The tags of the one image in a TIFF file.

    Smaller versions and masks of the image on further pages are passed over.

    Args:
        data: the file.

    Raises:
        ImageError: the file is damaged, or holds no image or several.
    """
    pages = list(_pages(data))
    full = [tags for tags in pages if not tags.get(Tag.SUBFILE_TYPE, (0,))[0] & _REDUCED_OR_MASK]
    if not full:
        raise ImageError("holds a thumbnail alone, as raw files of cameras do; save it as RGB")
    count = max(len(full), _images_of_stack(full[0]))
    if count > 1:
        raise ImageError(f"holds {count} images; save each as a file of its own")
    return full[0]


def exif_orientation(exif: bytes) -> int:
    """The orientation in an EXIF block, 1…8; 1, as it is, where there is none.

    Args:
        exif: the block, with or without the `Exif` that JPEG files put in front.

    >>> exif_orientation(b"no block at all")
    1
    """
    try:
        first = next(_pages(exif.removeprefix(b"Exif\0\0")), {})
    except ImageError:
        return 1
    return orientation_of(first)


def orientation_of(tags: Tags) -> int:
    """The orientation that tags name, 1…8; 1 where they name none.

    Args:
        tags: of a page.
    """
    value = tags.get(Tag.ORIENTATION, (1,))[0]
    return value if 1 <= value <= 8 else 1


def _images_of_stack(tags: Tags) -> int:
    """ImageJ writes large stacks as one page, and their number into its description."""
    description = bytes(tags.get(Tag.DESCRIPTION, ()))
    found = re.match(rb"ImageJ=.*?\simages=(\d+)", description, re.DOTALL)
    return int(found[1]) if found else 1


def _pages(data: bytes) -> Iterator[Tags]:
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        raise ImageError("is no TIFF file")
    try:
        yield from _walk(data, order)
    except (struct.error, ValueError, IndexError, OverflowError) as error:
        raise ImageError("cut off or damaged: its tags lie outside of it; copy it again") from error


def _walk(data: bytes, order: str) -> Iterator[Tags]:
    (version,) = struct.unpack_from(f"{order}H", data, 2)
    is_big = version == 43
    (offset,) = struct.unpack_from(f"{order}{'Q' if is_big else 'I'}", data, 8 if is_big else 4)
    seen: set[int] = set()
    while offset:
        if offset in seen or len(seen) >= _MAX_PAGES:
            raise ValueError("the pages have no end")
        seen.add(offset)
        tags, offset = _page(data, order, offset, is_big=is_big)
        yield tags


def _page(data: bytes, order: str, offset: int, *, is_big: bool) -> tuple[Tags, int]:
    counter, entry, pointer = ("Q", "HHQQ", "Q") if is_big else ("H", "HHII", "I")
    entry = order + entry
    size, room = struct.calcsize(entry), struct.calcsize(order + pointer)
    (count,) = struct.unpack_from(order + counter, data, offset)
    first = offset + struct.calcsize(order + counter)
    end = first + count * size
    if end + room > len(data):
        raise ValueError("a page that ends behind the file")
    tags: dict[int, tuple[int, ...]] = {}
    for place in range(first, end, size):
        tag, kind, length, value = struct.unpack_from(entry, data, place)
        if kind in _TYPES and length:
            numbers = np.dtype(order + _TYPES[kind])
            inside = length * numbers.itemsize <= room
            start = place + size - room if inside else value
            tags[tag] = tuple(np.frombuffer(data, numbers, length, start).tolist())
    (following,) = struct.unpack_from(order + pointer, data, end)
    return tags, following
