from __future__ import annotations

from dataclasses import dataclass

import pytest

from flawmap.errors import OptionError
from flawmap.support.options import from_dict, to_dict


@dataclass(frozen=True)
class Part:
    size: int = 3


@dataclass(frozen=True)
class Round(Part):
    radius: float = 1.5


@dataclass(frozen=True)
class Square(Part):
    side: float = 2.5


@dataclass
class Whole:
    part: Part = Round()
    layers: tuple[int, ...] = (2, 3)
    name: str | None = None


FAMILIES = (Part,)


def test_parts_come_back() -> None:
    whole = Whole(Square(side=4.0), (1,), "散")
    values = to_dict(whole, FAMILIES)
    assert values == {
        "part": {"type": "Square", "size": 3, "side": 4.0},
        "layers": [1],
        "name": "散",
    }
    assert from_dict(values, Whole, FAMILIES) == whole


def test_what_is_left_out_is_the_default() -> None:
    assert from_dict({"part": {"type": "Square"}}, Whole, FAMILIES) == Whole(Square())


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"part": {"type": "Square", "edge": 3}}, "edge"),
        ({"colour": 3}, "colour"),
        ({"layers": ["two"]}, "layers"),
        ({"part": {"type": "Triangle"}}, "Triangle"),
    ],
)
def test_what_cannot_be_is_named(values: dict, why: str) -> None:
    with pytest.raises(OptionError, match=why):
        from_dict(values, Whole, FAMILIES)
