"""Image files that no encoder writes: TIFF of any layout, and others cut, damaged or odd."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any, Literal

import numpy as np
from PIL import Image


def with_pillow(image: np.ndarray | Image.Image, image_format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(stream, image_format, **options)
    return stream.getvalue()


def tiff(
    pixels: np.ndarray,
    *,
    photometric: int | None = None,
    planes_apart: bool = False,
    tile: int = 0,
    rows: int = 11,
    deflate: bool = False,
    order: Literal["<", ">"] = "<",
    big: bool = False,
    pages: int = 1,
    tags: dict[int, list[int]] | None = None,
) -> bytes:
    """A TIFF file of (height, width, channel), written by the standard alone."""
    height, width, channels = pixels.shape
    stored = pixels.astype(pixels.dtype.newbyteorder(order))
    planes = [stored[:, :, [c]] for c in range(channels)] if planes_apart else [stored]
    chunks = [chunk for plane in planes for chunk in _chunks(plane, tile, rows)]
    packed = [zlib.compress(chunk) if deflate else chunk for chunk in chunks]
    kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    colours = 3 if channels > 2 else 1
    start = 16 if big else 8
    offsets = [start + sum(map(len, packed[:number])) for number in range(len(packed))]
    sizes = [len(chunk) for chunk in packed]
    fields = {
        256: [width],
        257: [height],
        258: [8 * pixels.itemsize] * channels,
        259: [8 if deflate else 1],
        262: [{1: 1, 3: 2}[colours] if photometric is None else photometric],
        277: [channels],
        284: [2 if planes_apart else 1],
        338: [2] * (channels - colours),
        339: [kind] * channels,
    }
    fields |= {322: [tile], 323: [tile], 324: offsets, 325: sizes} if tile else {}
    fields |= {} if tile else {273: offsets, 278: [rows], 279: sizes}
    fields |= tags or {}
    body = b"".join(packed)
    first = start + len(body)
    directories = b""
    for page in range(pages):
        directories += _directory(
            fields, first + len(directories), order, big=big, is_last=page == pages - 1
        )
    mark = b"II" if order == "<" else b"MM"
    if big:
        return mark + struct.pack(order + "HHHQ", 43, 8, 0, first) + body + directories
    return mark + struct.pack(order + "HI", 42, first) + body + directories


def _chunks(plane: np.ndarray, tile: int, rows: int) -> list[bytes]:
    height, width, _ = plane.shape
    if not tile:
        return [plane[top : top + rows].tobytes() for top in range(0, height, rows)]
    padded = np.pad(plane, ((0, -height % tile), (0, -width % tile), (0, 0)))
    return [
        padded[top : top + tile, left : left + tile].tobytes()
        for top in range(0, height, tile)
        for left in range(0, width, tile)
    ]


def _directory(
    fields: dict[int, list[int]], at: int, order: str, *, big: bool, is_last: bool
) -> bytes:
    kind, code, room = (16, "Q", 8) if big else (4, "I", 4)
    present = sorted((tag, values) for tag, values in fields.items() if values)
    behind = at + (8 if big else 2) + (4 + 2 * room) * len(present) + room
    head = struct.pack(order + ("Q" if big else "H"), len(present))
    entries, values_behind = b"", b""
    for tag, values in present:
        packed = struct.pack(f"{order}{len(values)}{code}", *values)
        if len(packed) > room:
            position = behind + len(values_behind)
            packed, values_behind = struct.pack(order + code, position), values_behind + packed
        entries += struct.pack(f"{order}HH{code}", tag, kind, len(values)) + packed
    following = 0 if is_last else behind + len(values_behind)
    return head + entries + struct.pack(order + code, following) + values_behind


def png(*blocks: tuple[bytes, bytes], is_whole: bool = True) -> bytes:
    """A PNG file of these blocks, with their checksums."""
    ends = [(b"IEND", b"")] if is_whole else []
    data = b"\x89PNG\r\n\x1a\n"
    for kind, content in [*blocks, *ends]:
        checksum = zlib.crc32(kind + content)
        data += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
    return data


def bmp(pixels: np.ndarray, bits: int, masks: tuple[int, int, int], *, downwards: bool) -> bytes:
    """A BMP file of 16 or 32 bits a pixel whose channels lie under masks."""
    height, width = pixels.shape[:2]
    values = np.zeros((height, width), np.uint64)
    for channel, mask in enumerate(masks):
        lowest = mask & -mask
        levels = pixels[:, :, channel].astype(np.uint64) * (mask // lowest) // 255
        values |= levels * np.uint64(lowest)
    rows = values.astype(f"<u{bits // 8}")
    rows = np.pad(rows, ((0, 0), (0, width % 2 if bits == 16 else 0)))
    raw = (rows if downwards else rows[::-1]).tobytes()
    sign = -1 if downwards else 1
    size = 66 + len(raw)
    head = b"BM" + struct.pack("<IHHI", size, 0, 0, 66)
    info = struct.pack("<IiiHHIIiiII", 40, width, sign * height, 1, bits, 3, len(raw), 0, 0, 0, 0)
    return head + info + struct.pack("<III", *masks) + raw
