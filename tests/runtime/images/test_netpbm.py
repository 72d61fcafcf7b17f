from __future__ import annotations

import numpy as np
import pytest

from flawmap.errors import ImageError
from flawmap.runtime.images.decode import decode
from helpers import texture

RGB = texture(0, 20, 31)
GREY = RGB[:, :, 0]
BLACK = GREY < 130


def file(kind: str, *numbers: int | float, raw: bytes) -> bytes:
    head = "\n# by hand\n".join([kind, *map(str, numbers)])
    return f"{head}\n".encode() + raw


@pytest.mark.parametrize("white", [1, 100, 255, 256, 1023, 4095, 65535])
def test_white_is_what_the_header_says(white: int) -> None:
    levels = np.rint(RGB * (white / 255)).astype(">u2" if white > 255 else "u1")
    full = 65535 if white > 255 else 255
    right = np.rint(levels * (full / white))
    assert np.array_equal(decode(file("P6", 31, 20, white, raw=levels.tobytes())), right)
    as_text = " ".join(map(str, levels.ravel())).encode()
    assert np.array_equal(decode(file("P3", 31, 20, white, raw=as_text)), right)
    grey = file("P5", 31, 20, white, raw=levels[:, :, 0].tobytes())
    assert np.array_equal(decode(grey)[:, :, 1], right[:, :, 0])
    as_text = "\n".join(map(str, levels[:, :, 0].ravel())).encode()
    assert np.array_equal(decode(file("P2", 31, 20, white, raw=as_text))[:, :, 2], right[:, :, 0])


def test_bits_are_black_where_they_are_set() -> None:
    packed = file("P4", 31, 20, raw=np.packbits(BLACK, axis=1).tobytes())
    digits = "\n".join("".join("01"[bit] for bit in row) for row in BLACK.tolist()).encode()
    for data in (packed, file("P1", 31, 20, raw=digits)):
        assert np.array_equal(decode(data)[:, :, 0], np.where(BLACK, 0, 255))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_pam(channels: int) -> None:
    alpha = np.zeros((20, 31, 1), np.uint8)
    pixels = np.dstack([GREY if channels < 3 else RGB, alpha])[:, :, :channels]
    head = f"P7\nWIDTH 31\nHEIGHT 20\nDEPTH {channels}\nMAXVAL 255\nTUPLTYPE X\nENDHDR\n"
    right = RGB if channels > 2 else np.repeat(GREY[:, :, None], 3, axis=2)
    assert np.array_equal(decode(head.encode() + pixels.tobytes()), right)


@pytest.mark.parametrize(("scale", "order"), [(-1.0, "<"), (1.0, ">"), (-2.5, "<")])
def test_pfm_stands_on_its_head(scale: float, order: str) -> None:
    floats = (RGB / 255).astype(order + "f4")
    colour = file("PF", 31, 20, scale, raw=floats[::-1].tobytes())
    assert np.array_equal(decode(colour), floats.astype(np.float32))
    grey = file("Pf", 31, 20, scale, raw=floats[::-1, :, 0].tobytes())
    assert np.array_equal(decode(grey)[:, :, 2], floats[:, :, 0].astype(np.float32))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (file("P5", 31, 20, 255, raw=GREY.tobytes()[:-1]), "cut off"),
        (file("P4", 31, 20, raw=b"1234"), "cut off"),
        (file("P2", 31, 20, 255, raw=b"1 2 3"), "cut off"),
        (file("P2", 9, 9, 255, raw=b"x " * 81), "no number"),
        (file("P2", 9, 9, 255, raw=b"-1 " * 81), "no level"),
        (file("P5", 31, 20, 100, raw=GREY.tobytes()), "its white is 100"),
        (file("P5", 31, 20, 0, raw=GREY.tobytes()), "header is incomplete"),
        (b"P6\n31", "header is incomplete"),
        (b"P7\nWIDTH 31\n", "header is incomplete"),
        (file("P5", 60_000, 60_000, 255, raw=b""), "60000×60000 pixels are too many"),
        (file("PF", 9, 9, -1.0, raw=np.full(243, 3, "<f4").tobytes()), "floats must lie in 0…1"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(data: bytes, why: str) -> None:
    with pytest.raises(ImageError, match=why):
        decode(data)
