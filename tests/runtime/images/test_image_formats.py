from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from flawmap.errors import ImageError
from flawmap.runtime.images.decode import decode
from flawmap.runtime.images.image_formats import SUFFIXES, missing_package, why_unread

SAVED_AS = {".pbm": "1", ".pfm": "F", ".pgm": "L"}


@pytest.mark.parametrize("suffix", sorted(SUFFIXES - {".pam", ".heic", ".heif", ".jxl"}))
def test_every_suffix_that_counts_is_read(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"a{suffix.upper()}"
    Image.new("RGB", (20, 30)).convert(SAVED_AS.get(suffix, "RGB")).save(file)
    assert decode(file).shape == (30, 20, 3)
    assert not why_unread(suffix)


def test_what_is_passed_over_is_told_from_what_is_no_image() -> None:
    assert why_unread(".CR2") == "flawmap does not read .cr2; save it as PNG"
    assert not why_unread(".txt")


@pytest.mark.parametrize(
    ("name", "suffix", "begins"),
    [("HEIF", ".heic", b"\0\0\0\x18ftypheic"), ("JXL", ".jxl", b"\xff\x0a")],
)
def test_optional_formats_say_what_to_install(name: str, suffix: str, begins: bytes) -> None:
    package = missing_package(name)
    if not package:
        assert suffix in SUFFIXES
        stream = io.BytesIO()
        Image.new("RGB", (20, 30)).save(stream, name)
        assert decode(stream.getvalue()).shape == (30, 20, 3)
        return
    assert suffix not in SUFFIXES
    assert why_unread(suffix) == f"{suffix} needs another package: pip install {package}"
    with pytest.raises(ImageError, match=f"{name} needs another package: pip install {package}"):
        decode(begins + bytes(12))
