"""PNG files of large images, compressed in strips by several threads.

libpng compresses in one thread, and takes longer for 40 megapixels than all of an inspection.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from flawmap.runtime.image_types import ImageU8
from flawmap.runtime.images.decode import map_ahead

_STRIP_BYTES = 2**22
_LEVEL = 1
_SUB_FILTER = 1
"""Each value less the one to its left, in PNG's numbers."""

_ZLIB_HEADER = b"\x78\x01"

_ADLER_BASE = 65521
"""The largest prime below 2¹⁶, by which Adler-32 counts."""


def encode_large_png(image: ImageU8) -> bytes:
    """The bytes of a PNG file.

    Args:
        image: RGB, (height, width, 3), uint8 in 0…255.

    Example:
        >>> encode_large_png(np.zeros((8, 8, 3), np.uint8))[1:4]
        b'PNG'
    """
    height, width = image.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    blocks = [b"\x89PNG\r\n\x1a\n", _block(b"IHDR", header), *_pixel_blocks(image)]
    return b"".join([*blocks, _block(b"IEND", b"")])


def _pixel_blocks(image: ImageU8) -> Iterator[bytes]:
    """The pixels as one zlib stream, a block for each strip."""
    rows = max(1, _STRIP_BYTES // image[0].nbytes)
    strips = [image[top : top + rows] for top in range(0, len(image), rows)]
    checksum = zlib.adler32(b"")
    yield _block(b"IDAT", _ZLIB_HEADER)
    for strip in map_ahead(_compress, strips):
        checksum = _joined_checksum(checksum, strip.checksum, strip.length)
        yield strip.block
    # An empty last part of the stream, and the checksum of all that is in it.
    yield _block(b"IDAT", zlib.compressobj(wbits=-15).flush() + struct.pack(">I", checksum))


class _Strip(NamedTuple):
    """Some rows as a block of the file; `checksum` and `length` are of what they were before."""

    block: bytes
    checksum: int
    length: int


def _compress(strip: np.ndarray) -> _Strip:
    """A strip filtered, and compressed up to a whole byte."""
    rows = np.ascontiguousarray(strip).reshape(len(strip), -1)
    filtered = np.empty((len(rows), rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = _SUB_FILTER
    filtered[:, 1:4] = rows[:, :3]
    np.subtract(rows[:, 3:], rows[:, :-3], out=filtered[:, 4:])
    stream = zlib.compressobj(_LEVEL, wbits=-15)
    compressed = stream.compress(filtered.data) + stream.flush(zlib.Z_FULL_FLUSH)
    # Checksums are taken here too, in the strip's thread, since they cost as much as a few filters.
    return _Strip(_block(b"IDAT", compressed), zlib.adler32(filtered.data), filtered.nbytes)


def _joined_checksum(first: int, second: int, length: int) -> int:
    """Adler-32 of two pieces in a row, by theirs and the length of the second (as in zlib)."""
    sums = (first & 0xFFFF) + (second & 0xFFFF) - 1
    weighted = (first >> 16) + (second >> 16) + length % _ADLER_BASE * ((first & 0xFFFF) - 1)
    return (weighted % _ADLER_BASE) << 16 | sums % _ADLER_BASE


def _block(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(kind))
    return b"".join((struct.pack(">I", len(content)), kind, content, struct.pack(">I", checksum)))
