"""Images to the bytes of a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2

from flawmap.errors import OptionError
from flawmap.render.large_png import encode_large_png
from flawmap.runtime.image_types import ImageU8
from flawmap.support.atomic import atomic_write
from flawmap.support.own_images import mark_png

_LARGE = 3 * 2**22
"""Values of an image of 4 megapixels; threads encode PNG files of such, in less time and room."""


def encode_image(image: ImageU8, suffix: str, *, jpeg_quality: int = 95) -> bytes:
    """The bytes of an image file.

    Args:
        image: RGB, (height, width, 3), uint8 in 0…255.
        suffix: chooses the format: `.png`, `.jpg`, `.webp`, `.bmp` or `.tif`, in any case.
        jpeg_quality: 0…100, for JPEG alone.

    Raises:
        OptionError: there is no such format.

    Example:
        >>> encode_image(np.zeros((8, 8, 3), np.uint8), ".png")[1:4]
        b'PNG'
    """
    if suffix.lower() == ".png" and image.size >= _LARGE:
        return encode_large_png(image)
    options: Sequence[int] = ()
    if suffix.lower() in {".jpg", ".jpeg"}:
        options = (cv2.IMWRITE_JPEG_QUALITY, jpeg_quality)
    try:
        _, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    except cv2.error as error:
        raise OptionError(f"no image format has the suffix {suffix!r}; use .png") from error
    return data.tobytes()


def write_image(file: Path, image: ImageU8) -> None:
    """Write an image in the format of the file's suffix; missing folders are made.

    A PNG is marked as flawmap's own, so that no run takes it for an image to inspect.

    Args:
        file: the file to write or replace.
        image: RGB, (height, width, 3), uint8 in 0…255.

    Raises:
        OptionError: there is no format with this suffix.
        WriteError: there is no space or no permission.

    Example:
        >>> file = getfixture("tmp_path") / "black.png"
        >>> write_image(file, np.zeros((8, 8, 3), np.uint8))
        >>> file.read_bytes()[1:4]
        b'PNG'
    """
    data = encode_image(image, file.suffix)
    if file.suffix == ".png":
        data = mark_png(data)
    with atomic_write(file) as stream:
        stream.write(data)
