"""Netpbm's formats: PBM, PGM, PPM, PAM and PFM.

OpenCV reads the levels of these as they stand, though only the header knows which is white, and
swaps the channels of PAM.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from flawmap.errors import ImageError
from flawmap.runtime.images.image_headers import CUT_OFF

_DAMAGED = "damaged: its header is incomplete; copy it again"

_BLANK = rb"(?:\s|#[^\n]*\n)+"
_HEADERS = {
    **dict.fromkeys((b"P1", b"P4"), 2),
    **dict.fromkeys((b"P2", b"P3", b"P5", b"P6", b"PF", b"Pf"), 3),
}
"""The numbers in a header, by how the file begins: width, height, and white or scale."""

_CHANNELS = {b"P3": 3, b"P6": 3, b"PF": 3}
_MAX_LEVEL = 65535


class NetpbmHeader(NamedTuple):
    """What the header of such a file says.

    Args:
        kind: the two letters at its beginning.
        width: in pixels.
        height: in pixels.
        channels: 1…4.
        white: the largest level, 1…65535; of PFM, the scale, below 0 for little-endian.
        start: where the pixels begin, in bytes.
    """

    kind: bytes
    width: int
    height: int
    channels: int
    white: float
    start: int


def is_netpbm(data: bytes) -> bool:
    """Whether a file begins as one of these.

    Args:
        data: the file.

    >>> is_netpbm(b"P5 8 8 255 ..."), is_netpbm(b"Paper")
    (True, False)
    """
    return re.match(rb"P[1-7Ff][\s#]", data) is not None


def read_netpbm_header(data: bytes) -> NetpbmHeader:
    """The header of such a file.

    Args:
        data: the file.

    Raises:
        ImageError: it is incomplete.
    """
    kind = data[:2]
    if kind == b"P7":
        return _pam_header(data)
    groups = _BLANK.join([rb"([-+.\deE]{1,20})"] * _HEADERS[kind])
    found = re.compile(rb"P." + _BLANK + groups + rb"\s").match(data)
    if not found:
        raise ImageError(_DAMAGED)
    numbers = [number.decode() for number in found.groups()]
    return _checked(kind, numbers, _CHANNELS.get(kind, 1), found.end())


def read_netpbm(data: bytes, header: NetpbmHeader) -> np.ndarray:
    """The pixels of such a file, (height, width, channel).

    Args:
        data: the file.
        header: its header.

    Returns:
        float32 for PFM; else uint8, or uint16 where white is above 255, in which white is 255 or
        65535.

    Raises:
        ImageError: the file is cut off, or holds values beyond its white.
    """
    if header.kind in (b"PF", b"Pf"):
        pixels = _stored(data, header, "<f4" if header.white < 0 else ">f4")
        return pixels[::-1].astype(np.float32)
    if header.kind == b"P4":
        return _bits(data, header)
    levels = _levels(data, header)
    if levels.size and levels.max() > header.white:
        raise ImageError(f"damaged: holds {levels.max()}, and its white is {header.white:g}")
    if header.kind == b"P1":
        levels = 1 - levels
    white, dtype = (255, np.uint8) if header.white <= 255 else (_MAX_LEVEL, np.uint16)
    if header.white == white:
        return levels.astype(dtype)
    stretched = np.rint(np.arange(int(header.white) + 1) * (white / header.white)).astype(dtype)
    return np.asarray(stretched[levels])


def _levels(data: bytes, header: NetpbmHeader) -> np.ndarray:
    if header.kind in (b"P5", b"P6", b"P7"):
        return _stored(data, header, ">u1" if header.white <= 255 else ">u2")
    text = re.sub(rb"#[^\n]*", b"", data[header.start :])
    words = list(re.sub(rb"\s+", b"", text)) if header.kind == b"P1" else text.split()
    count = header.height * header.width * header.channels
    if len(words) < count:
        raise ImageError(CUT_OFF)
    try:
        levels = np.array(words[:count]).astype(np.int64)
    except (ValueError, OverflowError) as error:
        raise ImageError("damaged: holds what is no number; copy it again") from error
    if header.kind == b"P1":
        levels -= ord("0")
    if levels.min() < 0:
        raise ImageError("damaged: holds what is no level; copy it again")
    return levels.reshape(header.height, header.width, header.channels)


def _stored(data: bytes, header: NetpbmHeader, dtype: str) -> np.ndarray:
    shape = header.height, header.width, header.channels
    count = header.height * header.width * header.channels
    if header.start + count * np.dtype(dtype).itemsize > len(data):
        raise ImageError(CUT_OFF)
    return np.frombuffer(data, dtype, count, header.start).reshape(shape)


def _bits(data: bytes, header: NetpbmHeader) -> np.ndarray:
    row = -(-header.width // 8)
    if header.start + row * header.height > len(data):
        raise ImageError(CUT_OFF)
    packed = np.frombuffer(data, np.uint8, row * header.height, header.start)
    black = np.unpackbits(packed.reshape(header.height, row), axis=1)[:, : header.width]
    return np.where(black, 0, 255).astype(np.uint8)[:, :, None]


def _pam_header(data: bytes) -> NetpbmHeader:
    found = re.compile(rb"P7\s.*?\nENDHDR[^\n]*\n", re.DOTALL).match(data, 0, 4096)
    if not found:
        raise ImageError(_DAMAGED)
    lines = [line.split() for line in found[0].splitlines()]
    values = {line[0]: line[1].decode("latin-1") for line in lines if len(line) == 2}
    try:
        numbers = [values[name] for name in (b"WIDTH", b"HEIGHT", b"MAXVAL")]
        return _checked(b"P7", numbers, int(values[b"DEPTH"]), found.end())
    except (KeyError, ValueError) as error:
        raise ImageError(_DAMAGED) from error


def _checked(kind: bytes, numbers: list[str], channels: int, start: int) -> NetpbmHeader:
    """The header of width, height and white, which is 1 where there is none."""
    try:
        width, height, white = int(numbers[0]), int(numbers[1]), float([*numbers, "1"][2])
        header = NetpbmHeader(kind, width, height, channels, white, start)
    except ValueError as error:
        raise ImageError(_DAMAGED) from error
    is_float = kind in (b"PF", b"Pf")
    if min(header.width, header.height) < 1 or not (is_float or 1 <= header.white <= _MAX_LEVEL):
        raise ImageError(_DAMAGED)
    if not 1 <= channels <= 4:
        raise ImageError(f"has {channels} channels; save it as grey or RGB")
    return header
