"""Files of images, each read as its format says, by the library that was found to read it so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from flawmap.errors import ImageError
from flawmap.runtime.images.image_formats import format_of
from flawmap.runtime.images.image_headers import (
    DAMAGED,
    Header,
    boxes,
    read_bmp,
    read_jpeg,
    read_jpeg2000,
    read_png,
    read_webp,
)
from flawmap.runtime.images.netpbm import read_netpbm, read_netpbm_header
from flawmap.runtime.images.tiff_layout import read_layout
from flawmap.runtime.images.tiff_tags import orientation_of, read_tags

MAX_PIXELS = 2**28
"""Most pixels of an image, 268 million, as 16,384 × 16,384: RGB of 16 bits takes 1.6 GB then.

A file of some bytes can claim any number.
"""

# IMREAD_COLOR makes three channels; ANYDEPTH keeps 16 bits. Releases of OpenCV differ in which
# formats they turn upright, so that is done here.
_AS_IS = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION

_STRIP_BYTES = 2**20
"""Of a large image whose channels are swapped in place."""

_HEADERS = {
    "JPEG": read_jpeg,
    "PNG": read_png,
    "BMP": read_bmp,
    "WebP": read_webp,
    "JPEG2000": read_jpeg2000,
}
_BOXED = ("AVIF", "HEIF", "JXL")


@dataclass(frozen=True, eq=False)
class ImageFile:
    """An image file whose header was read and makes sense.

    Args:
        width: of the image as it is stored, in pixels.
        height: of the image as it is stored, in pixels.
        bytes_per_pixel: of the decoded image.
        is_lossy: whether pixels may differ a little from those that were saved.
        read: gives the pixels, upright, (height, width, channel); grey or RGB, and behind them
            alpha in some files.
    """

    width: int
    height: int
    bytes_per_pixel: int
    is_lossy: bool
    read: Callable[[], np.ndarray]

    @property
    def size(self) -> int:
        """Of the decoded image, in bytes."""
        return self.width * self.height * self.bytes_per_pixel


def open_image_file(data: bytes, *, with_alpha: bool = False) -> ImageFile:
    """An image file whose header was read, and which is whole as far as that shows.

    Args:
        data: the file.
        with_alpha: whether alpha is needed, which takes longer in some formats.

    Raises:
        ImageError: it is damaged, cut off, not an image, or has too many pixels; the message does
            not name it.
    """
    if not data:
        raise ImageError("the file is empty")
    image_format = format_of(data)
    if image_format in _HEADERS:
        opened = _open_usual(data, image_format, with_alpha)
    elif image_format == "TIFF":
        opened = _open_tiff(data)
    elif image_format == "Netpbm":
        opened = _open_netpbm(data)
    elif image_format:
        opened = _open_other(data, image_format)
    else:
        raise ImageError(
            "damaged, cut off, or not an image; save it again as PNG, JPEG, BMP, TIFF or WebP"
        )
    if opened.width * opened.height > MAX_PIXELS:
        raise ImageError(
            f"{opened.width}×{opened.height} pixels are too many; cut it into images of at most "
            f"{MAX_PIXELS / 1e6:.0f} million pixels"
        )
    return opened


def _open_usual(data: bytes, image_format: str, with_alpha: bool) -> ImageFile:
    header = _HEADERS[image_format](data)
    if min(header.width, header.height) < 1:
        raise ImageError(DAMAGED)
    if header.reader == "Pillow":
        return _open_other(data, image_format)
    size = 6 if header.bits > 8 else 3
    # As colours, OpenCV reads no grey streams of JPEG 2000.
    unchanged = image_format == "JPEG2000" or (with_alpha and not header.is_lossy)
    flags = cv2.IMREAD_UNCHANGED if unchanged else _AS_IS
    read = partial(_read_with_opencv, data, header, flags)
    if header.reader == "masks":
        from flawmap.runtime.images.bmp_fields import read_bmp_fields

        read = partial(read_bmp_fields, data)
    return ImageFile(header.width, header.height, size, header.is_lossy, read)


def _read_with_opencv(data: bytes, header: Header, flags: int) -> np.ndarray:
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ImageError(f"cannot be decoded ({error.err})") from error
    if decoded is None:
        raise ImageError("damaged or cut off; copy it again")
    if decoded.shape[:2] != (header.height, header.width):
        raise ImageError(DAMAGED)
    return _upright(_with_full_white(_rgb(decoded), header.bits), header.orientation)


def _rgb(decoded: np.ndarray) -> np.ndarray:
    if decoded.ndim == 2:
        return decoded[:, :, None]
    code = cv2.COLOR_BGR2RGB if decoded.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
    if decoded.nbytes <= _STRIP_BYTES:
        return np.asarray(cv2.cvtColor(decoded, code))
    # In place, since a large image takes long to copy, and room.
    rows = max(1, _STRIP_BYTES // decoded[0].nbytes)
    for top in range(0, len(decoded), rows):
        strip = decoded[top : top + rows]
        strip[:] = cv2.cvtColor(strip, code)
    return decoded


def _with_full_white(pixels: np.ndarray, bits: int) -> np.ndarray:
    """Levels of an unusual number of bits, with white as bright as their type allows."""
    white = np.iinfo(pixels.dtype).max
    if bits in (1, 2, 4, 8, 16):
        return pixels
    largest = 2**bits - 1
    return np.asarray((pixels.astype(np.uint32) * white + largest // 2) // largest, pixels.dtype)


def _open_tiff(data: bytes) -> ImageFile:
    tags = read_tags(data)
    layout = read_layout(data, tags)
    if not layout.is_plain:
        return _open_rare_tiff(data, layout.bits)

    from flawmap.runtime.images.tiff_image import read_plain_tiff

    def read() -> np.ndarray:
        return _upright(read_plain_tiff(data, layout), orientation_of(tags))

    size = layout.bytes_per_pixel
    return ImageFile(layout.width, layout.height, size, is_lossy=False, read=read)


def _open_rare_tiff(data: bytes, bits: int) -> ImageFile:
    from flawmap.runtime.images.pillow_image import open_with_pillow, pixels_of

    try:
        image = open_with_pillow(data, "TIFF")
    except ImageError as error:
        message = (
            f"has {bits} bits a channel in a layout that is not read; save it as RGB of 8 bits"
        )
        raise ImageError(message) from error

    def read() -> np.ndarray:
        return _with_full_white(pixels_of(image), bits if bits > 8 else 8)

    return ImageFile(image.width, image.height, 6 if bits > 8 else 3, is_lossy=False, read=read)


def _open_netpbm(data: bytes) -> ImageFile:
    header = read_netpbm_header(data)
    size = 12 if header.kind in (b"PF", b"Pf") else 6 if header.white > 255 else 3
    read = partial(read_netpbm, data, header)
    return ImageFile(header.width, header.height, size, is_lossy=False, read=read)


def _open_other(data: bytes, image_format: str) -> ImageFile:
    from flawmap.runtime.images.pillow_image import open_with_pillow, pixels_of

    if image_format in _BOXED and data[:2] != b"\xff\x0a":
        list(boxes(data))
    image = open_with_pillow(data, image_format)
    is_lossy = image_format in _BOXED
    return ImageFile(image.width, image.height, 3, is_lossy, partial(pixels_of, image))


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels turned and mirrored as EXIF's orientation says."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
