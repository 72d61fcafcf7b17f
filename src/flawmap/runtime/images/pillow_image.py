"""Images that Pillow decodes: what OpenCV reads otherwise than the file says, and Pillow's own."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

import numpy as np
from PIL import Image, ImageOps

from flawmap.errors import ImageError
from flawmap.runtime.image_types import PillowImage
from flawmap.runtime.images.image_formats import missing_package

_DEEP = "I;16"
_KEPT = ("L", "LA", "RGB", "RGBA")


def open_with_pillow(data: bytes, name: str) -> Image.Image:
    """A file as Pillow opens it: its header is read, its pixels are not.

    Args:
        data: the file.
        name: of the format, as Pillow names it.

    Raises:
        ImageError: it is damaged, holds several images, or nothing is installed that reads it.
    """
    _load_plugin(name)
    if name not in Image.OPEN:
        Image.init()
    if name not in Image.OPEN:
        raise ImageError(f"the Pillow that is installed reads no {name}; upgrade it")
    with damage_named():
        # Not through Image.open, whose limit of pixels is not flawmap's.
        image = Image.OPEN[name][0](io.BytesIO(data), "")
        count = getattr(image, "n_frames", 1)
    if count > 1:
        raise ImageError(f"holds {count} images; save each as a file of its own")
    return image


def pixels_of(image: Image.Image | PillowImage) -> np.ndarray:
    """The pixels of a Pillow image, upright, (height, width, channel), in grey or RGB.

    Channels behind these are alpha.

    Args:
        image: of any mode; it may not be loaded yet.

    Raises:
        ImageError: it is damaged, or its mode has no known white.
    """
    if not isinstance(image, Image.Image):
        raise ImageError("is no Pillow image; give numpy.asarray(image)")
    with damage_named():
        pixels = np.asarray(_with_known_mode(ImageOps.exif_transpose(image)))
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def _with_known_mode(image: Image.Image) -> Image.Image:
    mode = image.mode
    if mode in _KEPT or mode == "F" or mode.startswith(_DEEP):
        return image
    if mode == "1":
        return image.convert("L")
    if mode in ("P", "PA"):
        has_alpha = mode == "PA" or "transparency" in image.info
        return image.convert("RGBA" if has_alpha else "RGB")
    if mode in ("CMYK", "YCbCr", "RGBX", "HSV"):
        return image.convert("RGB")
    if mode in ("La", "RGBa"):
        return image.convert(mode.upper())
    raise ImageError(f"has Pillow's mode {mode}, which has no known white; convert it to RGB or L")


@contextmanager
def damage_named() -> Iterator[None]:
    """Turn what Pillow raises into an error of flawmap.

    Raises:
        ImageError: Pillow raised something.
    """
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # Pillow's readers raise of all kinds for damaged files.
        raise ImageError(f"damaged or cut off ({error}); copy it again") from error


def _load_plugin(name: str) -> None:
    if package := missing_package(name):
        raise ImageError(f"{name} needs another package: pip install {package}")
    if name == "HEIF":
        import_module("pillow_heif").register_heif_opener()
    if name == "JXL":
        import_module("pillow_jxl")
