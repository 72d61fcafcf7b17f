"""Decodes damaged image files, a seed each; run as a program, so that a crash ends only this.

python tests/runtime/images/decode_fuzzer.py FIRST_SEED COUNT
"""

from __future__ import annotations

import faulthandler
import io
import os
import sys
import warnings

import cv2
import numpy as np
from PIL import Image

from flawmap.errors import FlawmapError
from flawmap.runtime.images.decode import decode

_SECONDS_EACH = 60
_HEIGHT, _WIDTH = 48, 64
_FORMATS = (
    "JPEG progressive",
    "JPEG",
    "PNG",
    "PNG palette",
    "BMP",
    "BMP masks",
    "WEBP",
    "WEBP lossless",
    "GIF",
    "JPEG2000",
    "AVIF",
    "TIFF raw",
    "TIFF tiff_lzw",
    "TIFF jpeg",
    "TIFF group4",
    "TIFF 16 bits apart",
    "PPM",
    "PGM text",
    "PFM",
)


def _whole(name: str) -> bytes:
    """A good file of a format."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (_HEIGHT, _WIDTH, 3)).astype(np.uint8)
    rgb = cv2.GaussianBlur(noise, (0, 0), 2)
    image_format, _, kind = name.partition(" ")
    if name == "BMP masks":
        return bmp(rgb, 32, (0xFF, 0xFF00, 0xFF0000), downwards=False)
    if name == "TIFF 16 bits apart":
        return tiff(rgb.astype(np.uint16) * 257, planes_apart=True, tile=16, deflate=True)
    if name == "PGM text":
        return b"P2 64 48 255\n" + " ".join(map(str, rgb[:, :, 0].ravel())).encode()
    if name == "PFM":
        return b"PF\n64 48\n-1.0\n" + (rgb / 255).astype("<f4").tobytes()
    image = Image.fromarray(rgb)
    if kind == "palette":
        image = image.quantize(16)
    if kind == "group4":
        image = image.convert("1")
    options = {
        "progressive": {"progressive": True},
        "lossless": {"lossless": True},
    }.get(kind, {"compression": kind} if image_format == "TIFF" else {})
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def _damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """The file with some bytes changed, zeroed, taken out or cut off."""
    content = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        if not content:
            break
        # Half of all damage is to the first bytes, where headers are.
        reach = min(len(content), 80) if rng.random() < 0.5 else len(content)
        place = int(rng.integers(reach))
        length = int(rng.integers(1, 60))
        kind = int(rng.integers(5))
        if kind == 0:
            content[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            content[place] = int(rng.choice([0, 1, 127, 128, 255]))
        elif kind == 2:
            content[place : place + length] = bytes(len(content[place : place + length]))
        elif kind == 3:
            del content[place : place + length]
        else:
            del content[max(place, 20) :]
    return bytes(content)


def main(first: int, count: int) -> None:
    """Decode so many files; the last line says how many were read and how many refused."""
    os.environ["OPENCV_LOG_LEVEL"] = "OFF"
    warnings.simplefilter("ignore")
    files = {name: _whole(name) for name in _FORMATS}
    read = 0
    for seed in range(first, first + count):
        name = _FORMATS[seed % len(_FORMATS)]
        data = _damaged(files[name], np.random.default_rng(seed))
        print("seed", seed, name, flush=True)
        faulthandler.dump_traceback_later(_SECONDS_EACH, exit=True)
        try:
            image = decode(data)
        except FlawmapError:
            continue
        finally:
            faulthandler.cancel_dump_traceback_later()
        assert image.ndim == 3
        assert image.shape[2] == 3
        assert image.dtype in (np.uint8, np.uint16, np.float32)
        has_header = data[:200] == files[name][:200] and not name.startswith("TIFF")
        assert not has_header or image.shape[:2] == (_HEIGHT, _WIDTH)
        read += 1
    print("read", read, "refused", count - read)


if __name__ == "__main__":
    faulthandler.enable()
    from image_files import bmp, tiff

    main(int(sys.argv[1]), int(sys.argv[2]))
