"""Which files count as images, by their suffix and by how they begin."""

from __future__ import annotations

import re
from importlib.util import find_spec

from flawmap.runtime.images.netpbm import is_netpbm

_ALWAYS_READ = frozenset(
    [
        ".avif",
        ".bmp",
        ".dib",
        ".gif",
        ".j2k",
        ".jfif",
        ".jp2",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".pam",
        ".pbm",
        ".pfm",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    ]
)

_OPTIONAL = {"HEIF": ("pillow_heif", (".heic", ".heif")), "JXL": ("pillow_jxl", (".jxl",))}
"""Formats for which Pillow needs another module, as Pillow names them: module and suffixes."""

_PACKAGES = {"pillow_heif": "pillow-heif", "pillow_jxl": "pillow-jxl-plugin"}

_OTHER_IMAGES = frozenset(
    [
        ".arw",
        ".cr2",
        ".cr3",
        ".dng",
        ".exr",
        ".fits",
        ".hdr",
        ".ico",
        ".j2c",
        ".jpx",
        ".nef",
        ".orf",
        ".psd",
        ".raw",
        ".rw2",
        ".svg",
        ".tga",
    ]
)
"""Suffixes of images that flawmap cannot read, as other programs name them."""

_BEGINNINGS = (
    ("JPEG", rb"\xff\xd8"),
    ("PNG", rb"\x89PNG\r\n\x1a\n"),
    ("BMP", rb"BM"),
    ("DIB", rb"\x28\0\0\0"),
    ("WebP", rb"RIFF....WEBP"),
    ("TIFF", rb"II[*+]\0|MM\0[*+]"),
    ("GIF", rb"GIF8[79]a"),
    ("JPEG2000", rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  "),
    ("AVIF", rb"....ftypavi[fs]"),
    ("HEIF", rb"....ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)"),
    ("JXL", rb"\xff\x0a|\0\0\0\x0cJXL "),
)


def missing_package(image_format: str) -> str:
    """The package to install for a format; empty where it can be read already.

    Args:
        image_format: as `format_of` names it.

    >>> missing_package("PNG")
    ''
    """
    module, _ = _OPTIONAL.get(image_format, ("", ()))
    return _PACKAGES[module] if module and find_spec(module) is None else ""


def format_of(data: bytes) -> str:
    """The format of a file, by how it begins; empty where it is none that flawmap knows.

    Args:
        data: the file, or the first 16 bytes of it.

    >>> format_of(b"BM...."), format_of(b"Dear Sirs")
    ('BMP', '')
    """
    for name, beginning in _BEGINNINGS:
        if re.match(beginning, data, re.DOTALL):
            return name
    return "Netpbm" if is_netpbm(data) else ""


def why_unread(suffix: str) -> str:
    """Why a file with this suffix is no image here, where others take it for one; else empty.

    Args:
        suffix: with its dot, in any case.

    >>> why_unread(".psd"), why_unread(".txt"), why_unread(".png")
    ('flawmap does not read .psd; save it as PNG', '', '')
    """
    suffix = suffix.lower()
    if suffix in SUFFIXES:
        return ""
    for name, (_, suffixes) in _OPTIONAL.items():
        if suffix in suffixes:
            return f"{suffix} needs another package: pip install {missing_package(name)}"
    return f"flawmap does not read {suffix}; save it as PNG" if suffix in _OTHER_IMAGES else ""


SUFFIXES = _ALWAYS_READ.union(
    *(suffixes for name, (_, suffixes) in _OPTIONAL.items() if not missing_package(name))
)
"""Suffixes of files that count as images in a folder, with what is installed."""
