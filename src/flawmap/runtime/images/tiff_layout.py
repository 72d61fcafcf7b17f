"""How the pixels lie in a TIFF file, by its tags."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flawmap.errors import ImageError
from flawmap.runtime.images.image_headers import CUT_OFF
from flawmap.runtime.images.tiff_tags import Tag, Tags

WHITE_IS_ZERO, BLACK_IS_ZERO, _RGB = 0, 1, 2
"""What the channels mean."""

COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, _RGB: 3}
"""Number of colour channels, by what they mean; whatever comes behind is alpha."""

_KINDS = {1: "u", 2: "i", 3: "f", 4: "u"}
NO_COMPRESSION = 1
"""Compression of pixels that are stored as they are."""

_BYTE_COMPRESSIONS = (NO_COMPRESSION, 5, 8, 32773, 32946, 34925, 50000)
"""Those that know nothing of pixels: LZW, deflate twice, PackBits, LZMA, Zstandard."""

_PIXEL_COMPRESSIONS = (2, 3, 4, 6, 7)
"""Those of Pillow that do: of black and white, and JPEG."""

_NO_PREDICTOR = 1

CONTRADICTION = "damaged: its tags contradict each other; copy it again"
"""Why a file is refused whose tags cannot all be."""

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
        is_known = self.dtype is not None and self.photometric in COLOURS
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

    width, height, samples = number(Tag.WIDTH), number(Tag.HEIGHT), number(Tag.SAMPLES, 1)
    is_tiled = Tag.TILE_OFFSETS in tags
    layout = TiffLayout(
        width,
        height,
        samples,
        number(Tag.BITS, 1),
        _dtype(data, tags),
        number(Tag.PHOTOMETRIC, BLACK_IS_ZERO),
        number(Tag.COMPRESSION, NO_COMPRESSION),
        number(Tag.PREDICTOR, _NO_PREDICTOR),
        planes_apart=samples > 1 and number(Tag.PLANAR, 1) == 2,
        chunk_width=number(Tag.TILE_WIDTH) if is_tiled else width,
        chunk_height=number(Tag.TILE_HEIGHT)
        if is_tiled
        else min(number(Tag.STRIP_ROWS, height), height),
        offsets=tags.get(Tag.TILE_OFFSETS if is_tiled else Tag.STRIP_OFFSETS, ()),
        sizes=tags.get(Tag.TILE_SIZES if is_tiled else Tag.STRIP_SIZES, ()),
        fill_order=number(Tag.FILL_ORDER, 1),
        is_tiled=is_tiled,
    )
    if layout.compression not in (*_BYTE_COMPRESSIONS, *_PIXEL_COMPRESSIONS):
        raise ImageError(f"is compressed in a way that is not read ({layout.compression}); use LZW")
    sides = width, height, samples, layout.chunk_width, layout.chunk_height
    if min(sides) < 1 or not layout.offsets:
        raise ImageError(CONTRADICTION)
    _refuse_cut_off(data, layout)
    return layout


def _dtype(data: bytes, tags: Tags) -> np.dtype | None:
    bits = set(tags.get(Tag.BITS, (1,)))
    kinds = {_KINDS.get(number, "") for number in tags.get(Tag.SAMPLE_FORMAT, (1,))}
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
