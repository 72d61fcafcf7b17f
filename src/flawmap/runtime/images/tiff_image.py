"""The pixels of TIFF files: their layout with NumPy, their compression by Pillow's libtiff.

OpenCV reads many layouts otherwise than the file says, or from memory that was never written:
planes apart, white as zero, floats with alpha.
"""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import TiffImagePlugin

from flawmap.errors import ImageError
from flawmap.runtime.images.image_headers import CUT_OFF
from flawmap.runtime.images.pillow_image import damage_named
from flawmap.runtime.images.tiff_layout import (
    BLACK_IS_ZERO,
    COLOURS,
    CONTRADICTION,
    NO_COMPRESSION,
    WHITE_IS_ZERO,
    TiffLayout,
)
from flawmap.runtime.images.tiff_tags import Tag, Tags

_DIFFERENCES, _FLOAT_DIFFERENCES = 2, 3
"""Predictors of TIFF."""

_REVERSED_BITS = 2
"""Fill order of files whose bytes have their bits the other way round."""


def read_plain_tiff(data: bytes, layout: TiffLayout) -> np.ndarray:
    """The pixels of a TIFF file, (height, width, channel), in the machine's byte order.

    Channels are grey or RGB, then alpha if there is one; white is the largest value.

    Args:
        data: the file.
        layout: one that is plain.

    Raises:
        ImageError: the file is cut off, or has more channels than colour and alpha.
    """
    colours = COLOURS[layout.photometric]
    if layout.samples not in (colours, colours + 1):
        raise ImageError(f"has {layout.samples} channels; save it as grey or RGB")
    planes = range(layout.samples if layout.planes_apart else 1)
    pixels = np.concatenate([_plane(data, layout, number) for number in planes], axis=2)
    if layout.photometric == WHITE_IS_ZERO:
        if pixels.dtype.kind != "u":
            raise ImageError(f"has {pixels.dtype} pixels with white as zero; save black as zero")
        np.invert(pixels[:, :, :1], out=pixels[:, :, :1])
    return pixels


def _plane(data: bytes, layout: TiffLayout, number: int) -> np.ndarray:
    """One plane, (height, width, channel)."""
    across = -(-layout.width // layout.chunk_width)
    down = -(-layout.height // layout.chunk_height)
    window = slice(number * across * down, (number + 1) * across * down)
    offsets, sizes = layout.offsets[window], layout.sizes[window]
    if len(offsets) != across * down:
        raise ImageError(CONTRADICTION)
    channels = 1 if layout.planes_apart else layout.samples
    rows = down * layout.chunk_height if layout.is_tiled else layout.height
    shape = rows, across, layout.chunk_width, channels
    if layout.compression == NO_COMPRESSION:
        pixels = _stored(data, layout, offsets, shape)
    else:
        pixels = _decompressed(data, layout, offsets, sizes, shape)
    return pixels.reshape(rows, -1, channels)[: layout.height, : layout.width]


def _stored(
    data: bytes, layout: TiffLayout, offsets: tuple[int, ...], shape: tuple[int, ...]
) -> np.ndarray:
    """Pixels that are not compressed, (row, tile, column, channel)."""
    dtype = _known(layout)
    _, across, width, channels = shape
    if layout.fill_order == _REVERSED_BITS:
        stored = np.frombuffer(data, np.uint8)
        data = np.packbits(np.unpackbits(stored, bitorder="little")).tobytes()
    result = np.empty(shape, dtype.newbyteorder("="))
    for index, offset in enumerate(offsets):
        top = index // across * layout.chunk_height
        target = result[top : top + layout.chunk_height, index % across]
        count = len(target) * width * channels
        if offset + count * dtype.itemsize > len(data):
            raise ImageError(CUT_OFF)
        target[:] = np.frombuffer(data, dtype, count, offset).reshape(target.shape)
    return result


def _decompressed(
    data: bytes,
    layout: TiffLayout,
    offsets: tuple[int, ...],
    sizes: tuple[int, ...],
    shape: tuple[int, ...],
) -> np.ndarray:
    """Pixels that libtiff decompresses, (row, tile, column, channel).

    Pillow knows no images of 16 bits or floats in colour, so it reads the bytes of each row as a
    row of grey pixels.
    """
    dtype = _known(layout)
    rows, across, width, channels = shape
    row_bytes = width * channels * dtype.itemsize
    tags: dict[int, tuple[int, ...]] = {
        Tag.WIDTH: (across * row_bytes,),
        Tag.HEIGHT: (rows,),
        Tag.BITS: (8,),
        Tag.COMPRESSION: (layout.compression,),
        Tag.PHOTOMETRIC: (BLACK_IS_ZERO,),
        Tag.FILL_ORDER: (layout.fill_order,),
        Tag.SAMPLES: (1,),
    }
    if layout.is_tiled:
        tags |= {Tag.TILE_WIDTH: (row_bytes,), Tag.TILE_HEIGHT: (layout.chunk_height,)}
        tags |= {Tag.TILE_OFFSETS: offsets, Tag.TILE_SIZES: sizes}
    else:
        tags |= {
            Tag.STRIP_ROWS: (layout.chunk_height,),
            Tag.STRIP_OFFSETS: offsets,
            Tag.STRIP_SIZES: sizes,
        }
    stream = io.BytesIO(_with_tags(data, tags))
    with damage_named(), TiffImagePlugin.TiffImageFile(stream) as image:
        raw = np.asarray(image).reshape(rows, across, row_bytes)
    return _undo_predictor(raw, layout, dtype, shape)


def _with_tags(data: bytes, tags: Tags) -> bytes:
    """The file with other tags, which stand behind all that it holds."""
    entries, values = b"", b""
    start = len(data) + len(data) % 2
    behind = start + 2 + 12 * len(tags) + 4
    for tag, numbers in sorted(tags.items()):
        packed = struct.pack(f"<{len(numbers)}I", *numbers)
        if len(packed) > 4:
            packed, values = struct.pack("<I", behind + len(values)), values + packed
        entries += struct.pack("<HHI", tag, 4, len(numbers)) + packed
    head = b"II*\0" + struct.pack("<I", start)
    page = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"".join((head, data[8:], bytes(len(data) % 2), page, values))


def _undo_predictor(
    raw: np.ndarray, layout: TiffLayout, dtype: np.dtype, shape: tuple[int, ...]
) -> np.ndarray:
    """Pixels out of the bytes of (row, tile, byte), by which differences they were stored."""
    if layout.predictor == _FLOAT_DIFFERENCES:
        channels = shape[3]
        steps = raw.reshape(*raw.shape[:2], -1, channels)
        summed = np.cumsum(steps, axis=2, dtype=np.uint8)
        # The first bytes of all numbers, then the second ones, the most significant ahead.
        parts = summed.reshape(*raw.shape[:2], dtype.itemsize, -1)
        joined = np.ascontiguousarray(np.moveaxis(parts, 2, 3))
        floats = joined.view(dtype.newbyteorder(">")).reshape(shape)
        return floats.astype(dtype.newbyteorder("="))
    pixels = raw.view(dtype).reshape(shape).astype(dtype.newbyteorder("="))
    if layout.predictor == _DIFFERENCES:
        if pixels.dtype.kind == "f":
            raise ImageError(CONTRADICTION)
        return np.cumsum(pixels, axis=2, dtype=pixels.dtype)
    return pixels


def _known(layout: TiffLayout) -> np.dtype:
    if layout.dtype is None:
        raise ImageError("has samples of no whole bytes; save it with 8 or 16 bits")
    return layout.dtype
