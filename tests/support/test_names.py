from __future__ import annotations

import pytest

from flawmap.support.names import as_text, shorten_path


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"gr\xfcn.jpg", r"gr\xfcn.jpg"),
        (b"\xff\xfe", r"\xff\xfe"),
        ("散é.png".encode(), "散é.png"),
        (b"a\xe6\x95b", r"a\xe6\x95b"),
    ],
)
def test_a_name_of_any_bytes_is_a_text(data: bytes, text: str) -> None:
    for encoding in ("utf-8", "ascii"):
        assert as_text(data.decode(encoding, "surrogateescape")) == text


def test_long_names_stay_different_and_short_ones_the_same() -> None:
    names = [f"{'散' * 100}{number}.jpg" for number in range(20)]
    short = [shorten_path(f"{'x' * 300}/{name}", ".png") for name in names]
    assert len(set(short)) == 20
    assert max(len(part.encode()) for name in short for part in name.split("/")) <= 255
    assert len({name.split("/")[0] for name in short}) == 1
    assert shorten_path("x" * 251, ".png") == "x" * 251 + ".png"
    assert len(shorten_path("x" * 252, ".png")) == 255
