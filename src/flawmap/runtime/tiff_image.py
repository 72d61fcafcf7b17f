"""The pixels of TIFF files: their layout with NumPy, their compression by Pillow's libtiff.

OpenCV reads many layouts otherwise than the file says, or from memory that was never written:
planes apart, white as zero, floats with alpha.
"""

from __future__ import annotations

import io
import struct
from typing import NamedTuple

import numpy as np
from PIL import TiffImagePlugin

from flawmap.errors import ImageError
from flawmap.runtime.image_headers import CUT_OFF
from flawmap.runtime.pillow_image import damage_named
from flawmap.runtime.tiff_tags import Tags

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_FILL_ORDER, _STRIP_OFFSETS, _SAMPLES, _STRIP_ROWS, _STRIP_SIZES = 266, 273, 277, 278, 279
_PLANAR, _PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT = 284, 317, 322, 323
_TILE_OFFSETS, _TILE_SIZES, _SAMPLE_FORMAT = 324, 325, 339

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_COLOURS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3}
"""Number of colour channels, by what they mean; whatever comes behind is alpha."""

_KINDS = {1: "u", 2: "i", 3: "f", 4: "u"}
_NO_COMPRESSION = 1
_BYTE_COMPRESSIONS = (_NO_COMPRESSION, 5, 8, 32773, 32946, 34925, 50000)
"""Those that know nothing of pixels: LZW, deflate twice, PackBits, LZMA, Zstandard."""

_PIXEL_COMPRESSIONS = (2, 3, 4, 6, 7, 32771)
"""Those of Pillow that do: of black and white, and JPEG."""

_NO_PREDICTOR, _DIFFERENCES, _FLOAT_DIFFERENCES = 1, 2, 3

_CONTRADICTION = "damaged: its tags contradict each other; copy it again"

_LARGEST_RATIO = 3000
"""Beyond what any compression of TIFF can reach."""


class TiffLayout(NamedTuple):
    """How the pixels lie in a TIFF file.

    Args:
        width: of the image, in pixels.
        height: of the image, in pixels.
        samples: channels of a pixel, alpha among them.
        bits: of a sample.
        dtype: of a sample, in the byte order of the file; None where its bits are no whole bytes or
            differ.
        photometric: what the channels mean.
        compression: the number of its kind.
        predictor: 1 for none, 2 for differences, 3 for differences of floats.
        planes_apart: whether each channel is stored as an image of its own.
        chunk_width: of a strip or tile, in pixels.
        chunk_height: of a strip or tile, in pixels.
        offsets: where the strips or tiles begin in the file.
        sizes: their sizes in bytes.
        fill_order: 2 where the bits of each byte are reversed.
        is_tiled: whether these are tiles.
    """

    width: int
    height: int
    samples: int
    bits: int
    dtype: np.dtype | None
    photometric: int
    compression: int
    predictor: int
    planes_apart: bool
    chunk_width: int
    chunk_height: int
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    fill_order: int
    is_tiled: bool

    @property
    def is_plain(self) -> bool:
        """Whether `read_plain_tiff` reads it: grey or RGB in whole bytes, of any layout."""
        is_known = self.dtype is not None and self.photometric in _COLOURS
        return is_known and self.compression in _BYTE_COMPRESSIONS

    @property
    def bytes_per_pixel(self) -> int:
        """Of the decoded image, with all its channels."""
        return self.samples * (self.dtype.itemsize if self.dtype else 1)


def read_layout(data: bytes, tags: Tags) -> TiffLayout:
    """How the pixels lie in a TIFF file.

    Args:
        data: the file.
        tags: of its image.

    Raises:
        ImageError: a tag is missing or makes no sense.
    """

    def number(tag: int, default: int = 0) -> int:
        return tags.get(tag, (default,))[0]

    width, height, samples = number(_WIDTH), number(_HEIGHT), number(_SAMPLES, 1)
    is_tiled = _TILE_OFFSETS in tags
    layout = TiffLayout(
        width,
        height,
        samples,
        number(_BITS, 1),
        _dtype(data, tags),
        number(_PHOTOMETRIC, _BLACK_IS_ZERO),
        number(_COMPRESSION, _NO_COMPRESSION),
        number(_PREDICTOR, _NO_PREDICTOR),
        planes_apart=samples > 1 and number(_PLANAR, 1) == 2,
        chunk_width=number(_TILE_WIDTH) if is_tiled else width,
        chunk_height=number(_TILE_HEIGHT) if is_tiled else min(number(_STRIP_ROWS, height), height),
        offsets=tags.get(_TILE_OFFSETS if is_tiled else _STRIP_OFFSETS, ()),
        sizes=tags.get(_TILE_SIZES if is_tiled else _STRIP_SIZES, ()),
        fill_order=number(_FILL_ORDER, 1),
        is_tiled=is_tiled,
    )
    if layout.compression not in (*_BYTE_COMPRESSIONS, *_PIXEL_COMPRESSIONS):
        raise ImageError(f"is compressed in a way that is not read ({layout.compression}); use LZW")
    sides = width, height, samples, layout.chunk_width, layout.chunk_height
    if min(sides) < 1 or not layout.offsets:
        raise ImageError(_CONTRADICTION)
    _refuse_cut_off(data, layout)
    return layout


def read_plain_tiff(data: bytes, layout: TiffLayout) -> np.ndarray:
    """The pixels of a TIFF file, (height, width, channel), in the machine's byte order.

    Channels are grey or RGB, then alpha if there is one; white is the largest value.

    Args:
        data: the file.
        layout: one that is plain.

    Raises:
        ImageError: the file is cut off, or has more channels than colour and alpha.
    """
    colours = _COLOURS[layout.photometric]
    if layout.samples not in (colours, colours + 1):
        raise ImageError(f"has {layout.samples} channels; save it as grey or RGB")
    planes = range(layout.samples if layout.planes_apart else 1)
    pixels = np.concatenate([_plane(data, layout, number) for number in planes], axis=2)
    if layout.photometric == _WHITE_IS_ZERO:
        if pixels.dtype.kind != "u":
            raise ImageError(f"has {pixels.dtype} pixels with white as zero; save black as zero")
        np.invert(pixels[:, :, :1], out=pixels[:, :, :1])
    return pixels


def _dtype(data: bytes, tags: Tags) -> np.dtype | None:
    bits = set(tags.get(_BITS, (1,)))
    kinds = {_KINDS.get(number, "") for number in tags.get(_SAMPLE_FORMAT, (1,))}
    if len(bits) > 1 or len(kinds) > 1:
        return None
    (width,), (kind,) = bits, kinds
    order = "<" if data[:2] == b"II" else ">"
    try:
        return np.dtype(f"{order}{kind}{width // 8}") if kind and width % 8 == 0 else None
    except TypeError:  # 24 bits
        return None


def _refuse_cut_off(data: bytes, layout: TiffLayout) -> None:
    """Refuse a file that ends before its strips, or holds too few bytes for so many pixels."""
    ends = [start + size for start, size in zip(layout.offsets, layout.sizes, strict=False)]
    needed = layout.width * layout.height * layout.samples * max(layout.bits, 1) // 8
    if max(ends, default=0) > len(data) or needed > _LARGEST_RATIO * len(data):
        raise ImageError(CUT_OFF)


def _plane(data: bytes, layout: TiffLayout, number: int) -> np.ndarray:
    """One plane, (height, width, channel)."""
    across = -(-layout.width // layout.chunk_width)
    down = -(-layout.height // layout.chunk_height)
    window = slice(number * across * down, (number + 1) * across * down)
    offsets, sizes = layout.offsets[window], layout.sizes[window]
    if len(offsets) != across * down:
        raise ImageError(_CONTRADICTION)
    channels = 1 if layout.planes_apart else layout.samples
    rows = down * layout.chunk_height if layout.is_tiled else layout.height
    shape = rows, across, layout.chunk_width, channels
    if layout.compression == _NO_COMPRESSION:
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
        _WIDTH: (across * row_bytes,),
        _HEIGHT: (rows,),
        _BITS: (8,),
        _COMPRESSION: (layout.compression,),
        _PHOTOMETRIC: (_BLACK_IS_ZERO,),
        _FILL_ORDER: (layout.fill_order,),
        _SAMPLES: (1,),
    }
    if layout.is_tiled:
        tags |= {_TILE_WIDTH: (row_bytes,), _TILE_HEIGHT: (layout.chunk_height,)}
        tags |= {_TILE_OFFSETS: offsets, _TILE_SIZES: sizes}
    else:
        tags |= {_STRIP_ROWS: (layout.chunk_height,), _STRIP_OFFSETS: offsets, _STRIP_SIZES: sizes}
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
            raise ImageError(_CONTRADICTION)
        return np.cumsum(pixels, axis=2, dtype=pixels.dtype)
    return pixels


def _known(layout: TiffLayout) -> np.dtype:
    if layout.dtype is None:
        raise ImageError("has samples of no whole bytes; save it with 8 or 16 bits")
    return layout.dtype
