"""PNG files of large images, compressed in strips by several threads.

libpng compresses in one thread, and takes longer for 40 megapixels than all of an inspection.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from flawmap.runtime.images.decode import map_ahead
from flawmap.runtime.preprocess import ImageU8

_STRIP_BYTES = 2**22
_LEVEL = 1
_SUB_FILTER = 1
"""Each value less the one to its left, in PNG's numbers."""

_ZLIB_HEADER = b"\x78\x01"


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
    for filtered, compressed in map_ahead(_compress, strips):
        checksum = zlib.adler32(filtered.data, checksum)
        yield _block(b"IDAT", compressed)
    # An empty last part of the stream, and the checksum of all that is in it.
    yield _block(b"IDAT", zlib.compressobj(wbits=-15).flush() + struct.pack(">I", checksum))


def _compress(strip: np.ndarray) -> tuple[np.ndarray, bytes]:
    """The filtered bytes of a strip, and the same compressed up to a whole byte."""
    rows = np.ascontiguousarray(strip).reshape(len(strip), -1)
    filtered = np.empty((len(rows), rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = _SUB_FILTER
    filtered[:, 1:4] = rows[:, :3]
    np.subtract(rows[:, 3:], rows[:, :-3], out=filtered[:, 4:])
    stream = zlib.compressobj(_LEVEL, wbits=-15)
    return filtered, stream.compress(filtered.data) + stream.flush(zlib.Z_FULL_FLUSH)


def _block(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(kind))
    return b"".join((struct.pack(">I", len(content)), kind, content, struct.pack(">I", checksum)))
