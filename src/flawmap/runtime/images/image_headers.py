"""The headers of JPEG, PNG, BMP, WebP and JPEG 2000 files, and whether the files are whole.

Decoders fill what is missing with grey, or take zeros for data, and say nothing.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from flawmap.errors import ImageError
from flawmap.runtime.images.tiff_tags import exif_orientation

CUT_OFF = "cut off: its end is missing; copy it again"
"""Why a file is refused that ends too early."""

DAMAGED = "damaged: its header makes no sense; copy it again"
"""Why a file is refused whose header cannot be."""

# A marker other than those that stand inside of the pixels' data: restarts and stuffed zeros.
_JPEG_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
_JPEG_END, _JPEG_EXIF = 0xD9, 0xE1
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_SEGMENTS = _JPEG_FRAMES | {0xC4, 0xCC, *range(0xDA, 0xDE), *range(0xE0, 0xF0), 0xFE}

_BMP_PLAIN, _BMP_BIT_FIELDS, _BMP_ALPHA_FIELDS = 0, 3, 6


class Header(NamedTuple):
    """What a header says.

    Args:
        width: of the image as it is stored, in pixels.
        height: of the image as it is stored, in pixels.
        orientation: how to turn it upright, 1…8, as EXIF numbers it.
        bits: of a channel.
        is_lossy: whether pixels may differ a little from those that were saved.
        reader: what reads it right: `OpenCV`, `Pillow`, or for BMP `masks`.
    """

    width: int
    height: int
    orientation: int = 1
    bits: int = 8
    is_lossy: bool = False
    reader: str = "OpenCV"


def read_jpeg(data: bytes) -> Header:
    """The header of a JPEG file, all segments of which were looked at.

    What follows its end is no part of it.

    Args:
        data: the file.

    Raises:
        ImageError: its end is missing, or zeros stand in its place.
    """
    width = height = 0
    orientation = 1
    position = 2
    while found := _JPEG_MARKER.search(data, position):
        marker, position = data[found.end() - 1], found.end()
        if marker == _JPEG_END and width:
            return Header(width, height, orientation, is_lossy=True)
        is_second_frame = marker in _JPEG_FRAMES and width
        if marker not in _JPEG_SEGMENTS or is_second_frame:  # of other data, or another file
            break
        end = position + int.from_bytes(data[position : position + 2])
        if marker in _JPEG_FRAMES:
            bits, height, width = _unpack(">BHH", data, position + 2)
            if bits != 8:
                raise ImageError(f"a JPEG of {bits} bits; save it as PNG or TIFF with 16 bits")
        elif marker == _JPEG_EXIF and data.startswith(b"Exif\0\0", position + 2):
            orientation = exif_orientation(data[position + 2 : end])
        position = end
    raise ImageError(CUT_OFF)


def read_png(data: bytes) -> Header:
    """The header of a PNG file, whose blocks were compared with their checksums.

    Args:
        data: the file.

    Raises:
        ImageError: it is cut off or damaged, or holds several images.
    """
    header: Header | None = None
    orientation = 1
    for kind, block in _png_blocks(data):
        if kind == b"IHDR":
            width, height, bits = _unpack(">IIB", block)
            header = Header(width, height, bits=bits)
        elif kind == b"acTL":
            (count,) = _unpack(">I", block)
            if count > 1:
                raise ImageError(f"holds {count} images; save each as a file of its own")
        elif kind == b"eXIf":
            orientation = exif_orientation(bytes(block))
    if header is None:
        raise ImageError(DAMAGED)
    return header._replace(orientation=orientation)


def read_bmp(data: bytes) -> Header:
    """The header of a BMP file.

    Args:
        data: the file.

    Raises:
        ImageError: it is cut off or damaged.
    """
    (start,) = _unpack("<I", data, 10)
    (size,) = _unpack("<I", data, 14)
    if size == 12:
        width, height, _, bits = _unpack("<HHHH", data, 18)
        compression = _BMP_PLAIN
    else:
        width, height, _, bits, compression = _unpack("<iiHHI", data, 18)
    height = abs(height)
    stored = compression in (_BMP_PLAIN, _BMP_BIT_FIELDS, _BMP_ALPHA_FIELDS)
    if stored and bits not in (1, 2, 4, 8, 16, 24, 32):
        raise ImageError(DAMAGED)
    reader = "Pillow"
    if compression == _BMP_PLAIN and bits != 16:
        reader = "OpenCV"
    elif stored and bits in (16, 32):
        reader = "masks"
    if width < 1 or height < 1:
        raise ImageError(DAMAGED)
    if stored and start + (width * bits + 31) // 32 * 4 * height > len(data):
        raise ImageError(CUT_OFF)
    return Header(width, height, reader=reader)


def read_webp(data: bytes) -> Header:
    """The header of a WebP file.

    Args:
        data: the file.

    Raises:
        ImageError: it is cut off or damaged, or holds several images.
    """
    (size,) = _unpack("<I", data, 4)
    if size + 8 > len(data):
        raise ImageError(CUT_OFF)
    header: Header | None = None
    orientation = 1
    for kind, block in _riff_blocks(data[: size + 8]):
        if kind == b"VP8X" and block[0] & 2:
            raise ImageError("holds several images; save each as a file of its own")
        if kind == b"VP8 ":
            width, height = _unpack("<HH", block, 6)
            header = Header(width & 0x3FFF, height & 0x3FFF, is_lossy=True)
        elif kind == b"VP8L":
            (sides,) = _unpack("<I", block, 1)
            header = Header((sides & 0x3FFF) + 1, (sides >> 14 & 0x3FFF) + 1)
        elif kind == b"EXIF":
            orientation = exif_orientation(bytes(block))
    if header is None:
        raise ImageError(DAMAGED)
    return header._replace(orientation=orientation)


def read_jpeg2000(data: bytes) -> Header:
    """The header of a JPEG 2000 file, with or without boxes around its stream.

    Args:
        data: the file.

    Raises:
        ImageError: it is cut off or damaged, or has more than 16 bits.
    """
    stream = memoryview(data)
    if not data.startswith(b"\xff\x4f"):
        streams = [content for kind, content in boxes(data) if kind == b"jp2c"]
        if not streams:
            raise ImageError(DAMAGED)
        stream = streams[0]
    if bytes(stream[:4]) != b"\xff\x4f\xff\x51":
        raise ImageError(DAMAGED)
    if bytes(stream[-2:]) != b"\xff\xd9":
        raise ImageError(CUT_OFF)
    right, bottom, left, top = _unpack(">IIII", stream, 8)
    channels, depth = _unpack(">HB", stream, 40)
    bits = (depth & 0x7F) + 1
    if depth & 0x80 or bits > 16 or channels not in (1, 2, 3, 4):
        raise ImageError(f"has {channels} channels of {bits} bits; save it with 8 or 16 bits")
    reader = "Pillow" if channels == 2 else "OpenCV"
    return Header(right - left, bottom - top, bits=bits, is_lossy=True, reader=reader)


def boxes(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and content of the outer boxes of a JPEG 2000, AVIF, HEIF or JPEG XL file.

    Args:
        data: the file.

    Raises:
        ImageError: a box ends behind the file.
    """
    position = 0
    while position < len(data):
        size, kind = _unpack(">I4s", data, position)
        start = position + 8
        if size == 1:
            (size,) = _unpack(">Q", data, start)
            start += 8
        end = position + size if size else len(data)
        if end > len(data):
            raise ImageError(CUT_OFF)
        if end < start:
            raise ImageError(DAMAGED)
        yield kind, memoryview(data)[start:end]
        position = end


def _png_blocks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    view = memoryview(data)
    position = 8
    while True:
        size, kind = _unpack(">I4s", data, position)
        end = position + 8 + size
        if end + 4 > len(data):
            raise ImageError(CUT_OFF)
        # Decoders compare those of the pixels themselves.
        is_wrong = (
            kind != b"IDAT" and zlib.crc32(view[position + 4 : end]) != _unpack(">I", data, end)[0]
        )
        if is_wrong:
            raise ImageError("damaged: a checksum does not match; copy it again")
        yield kind, view[position + 8 : end]
        if kind == b"IEND":
            return
        position = end + 4


def _riff_blocks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    view = memoryview(data)
    position = 12
    while position + 8 <= len(data):
        kind, size = _unpack("<4sI", data, position)
        end = position + 8 + size
        if end > len(data):
            raise ImageError(CUT_OFF)
        yield kind, view[position + 8 : end]
        position = end + size % 2


def _unpack(layout: str, data: bytes | memoryview, start: int = 0) -> tuple[Any, ...]:
    try:
        return struct.unpack_from(layout, data, start)
    except struct.error as error:
        raise ImageError(CUT_OFF) from error
