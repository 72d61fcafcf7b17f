"""The pixels of BMP files whose channels lie where masks say; OpenCV and Pillow know few masks."""

from __future__ import annotations

import struct

import numpy as np

from flawmap.errors import ImageError

_DEFAULT_MASKS = (0x7C00, 0x3E0, 0x1F)
"""Of files with 16 bits a pixel and no masks."""


def read_bmp_fields(data: bytes) -> np.ndarray:
    """The pixels of a BMP file of 16 or 32 bits a pixel, (height, width, 3), uint8 in 0…255.

    Args:
        data: the file, which is as long as its header says.

    Raises:
        ImageError: it is compressed, or a mask cannot be.
    """
    (start,) = struct.unpack_from("<I", data, 10)
    width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    masks = struct.unpack_from("<III", data, 54) if compression else _DEFAULT_MASKS
    row = (width * bits + 31) // 32 * 4
    stored = np.frombuffer(data, np.uint8, row * abs(height), start).reshape(-1, row)
    values = stored[:, : width * bits // 8].copy().view(f"<u{bits // 8}")
    if height > 0:
        values = values[::-1]
    return np.stack([_channel(values, mask) for mask in masks], axis=2)


def _channel(values: np.ndarray, mask: int) -> np.ndarray:
    """The levels under a mask, stretched to 0…255."""
    lowest = mask & -mask
    white = mask // lowest if mask else 0
    if not white or white & (white + 1):
        raise ImageError(f"has a mask {mask:#x} for a channel; save it with 24 bits a pixel")
    levels = (values & values.dtype.type(mask)).astype(np.uint64) // np.uint64(lowest)
    return np.asarray(levels * np.uint64(255) // np.uint64(white), np.uint8)
