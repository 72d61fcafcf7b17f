from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pytest

from flawmap.errors import OptionError
from flawmap.methods import make_method
from flawmap.support.options import (
    Components,
    Option,
    check_range,
    check_types,
    component_fields,
    from_dict,
    list_options,
    to_dict,
    with_option,
)


@dataclass(frozen=True)
class Shape:
    size: int = 3


@dataclass(frozen=True)
class Disc(Shape):
    radius: float = field(default=1.5, metadata={"symbol": "r"})


@dataclass(frozen=True)
class Square(Shape):
    side: float = 2.5


@dataclass(frozen=True)
class Ring(Shape):
    inner: Shape = Disc()


@dataclass
class Drawing:
    shape: Shape = Disc()
    layers: tuple[int, ...] = (2, 3)
    name: str | None = None
    colour: Literal["red", "blue"] = "red"


SHAPES = Components("shape", Shape, [Disc, Square, Ring])


def test_components_come_back() -> None:
    drawing = Drawing(Square(side=4.0), (1,), "散")
    values = to_dict(drawing)
    assert values == {
        "shape": {"type": "Square", "size": 3, "side": 4.0},
        "layers": [1],
        "name": "散",
        "colour": "red",
    }
    assert from_dict(values, Drawing) == drawing


def test_components_of_components_come_back() -> None:
    drawing = Drawing(Ring(inner=Square()))
    assert to_dict(drawing)["shape"]["inner"]["type"] == "Square"
    assert from_dict(to_dict(drawing), Drawing) == drawing


def test_what_is_not_given_is_the_default() -> None:
    assert from_dict({"shape": {"type": "Square"}}, Drawing) == Drawing(Square())


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"shape": {"type": "Square", "edge": 3}}, "edge"),
        ({"shading": 3}, "shading"),
        ({"layers": ["two"]}, "layers"),
        ({"shape": {"type": "Triangle"}}, "there is no shape 'Triangle'; there are Disc, Square"),
        ({"shape": {"side": 2.0}}, "names no shape"),
        ({"shape": "Square"}, "'Square' names no shape"),
        ({"colour": "green"}, r"expected red \| blue @ options.colour"),
        (
            {"shape": {"type": "Triangle", "source": "package acme"}},
            "the shape 'Triangle' comes from package acme.* @ options.shape",
        ),
    ],
)
def test_what_cannot_be_is_named(values: dict[str, Any], why: str) -> None:
    with pytest.raises(OptionError, match=why):
        from_dict(values, Drawing)


def test_a_component_of_another_module_keeps_its_source() -> None:
    @dataclass(frozen=True)
    class Star(Shape):
        points: int = 5

    expected = {"type": "Star", "source": f"module {__name__}", "size": 3, "points": 6}
    assert to_dict(Drawing(Star(points=6)))["shape"] == expected  # saved as it is
    with pytest.raises(OptionError, match=r"import .* first"):
        from_dict({"shape": expected}, Drawing)
    SHAPES.register("Star", Star)
    assert from_dict({"shape": expected}, Drawing) == Drawing(Star(points=6))


@pytest.mark.parametrize("value", [Drawing, int, 3, "Square", Disc()])
def test_what_is_no_component_is_refused(value: object) -> None:
    with pytest.raises(OptionError, match=r"is no dataclass with one of the bases .*Shape"):
        SHAPES.register("Other", value)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("shape=Square", Drawing(Square())),
        ("shape.radius=2", Drawing(Disc(radius=2))),
        ("layers=[1, 2]", Drawing(layers=(1, 2))),
        ("name=red part", Drawing(name="red part")),
        ("name=null", Drawing()),
        ("colour=blue", Drawing(colour="blue")),
    ],
)
def test_one_option_changes(change: str, expected: Drawing) -> None:
    drawing = Drawing()
    assert with_option(drawing, change) == expected
    assert drawing == Drawing()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("layers", "'layers': write NAME=VALUE with a name among shape, layers, name, colour"),
        ("shading=3", "with a name among shape, layers, name, colour"),
        ("shape.edge=3", "with a name among size, radius"),
        ("shape.type=Square", "with a name among size, radius"),
        ("layers.name=3", "with a name among shape, layers, name, colour"),
        ("nothing.name=3", "with a name among shape, layers, name, colour"),
        ("shape=Triangle", "there is no shape 'Triangle'"),
    ],
)
def test_changes_that_cannot_be(change: str, why: str) -> None:
    with pytest.raises(OptionError, match=why):
        with_option(Drawing(), change)


def test_a_range_names_its_method_once() -> None:
    with pytest.raises(OptionError, match=r"^PatchCore: max_rows=0; use 1 or more"):
        with_option(make_method("patchcore"), "max_rows=0")


def test_options_are_listed_with_types_values_defaults_and_symbols() -> None:
    assert list_options(Drawing(Ring(), name="散")) == [
        Option("shape", "shape", "Ring", "Disc"),
        Option("shape.size", "int", 3, 3),
        Option("shape.inner", "shape", "Disc", "Disc"),
        Option("shape.inner.size", "int", 3, 3),
        Option("shape.inner.radius", "float", 1.5, 1.5, "r"),
        Option("layers", "list of int", (2, 3), (2, 3)),
        Option("name", "str | null", "散", None),
        Option("colour", "red | blue", "red", "red"),
    ]
    assert component_fields(Drawing) == {"shape": SHAPES}


@dataclass(frozen=True)
class Typed:
    count: int = 1
    width: float = 1.0
    closed: bool = True
    label: str = "a"
    layers: tuple[int, ...] = (2, 3)
    largest: float | None = None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("count=1.5", "1.5 is no whole number, expected int @ options.count"),
        ("count=true", "True is no whole number, expected int @ options.count"),
        ("width=true", "True is no finite number, expected float @ options.width"),
        ("width=NaN", "nan is no finite number, expected float @ options.width"),
        ("largest=Infinity", "inf is no finite number, expected float @ options.largest"),
        ("closed=maybe", "'maybe' is neither true nor false, expected bool @ options.closed"),
        ("closed=1", "1 is neither true nor false, expected bool @ options.closed"),
        ("label=5", "5 is no text, expected str @ options.label"),
        ("layers=2", "2 is no list in brackets, expected list of int @ options.layers"),
        ("layers=2,3", "'2,3' is no list in brackets, expected list of int @ options.layers"),
        ("layers=[2,1.5]", "1.5 is no whole number, expected int @ options.layers[1]"),
    ],
)
def test_a_value_of_another_type_is_refused_and_not_converted(change: str, why: str) -> None:
    with pytest.raises(OptionError, match=re.escape(why)):
        with_option(Typed(), change)


def test_a_whole_number_is_a_float_too_and_null_is_none() -> None:
    changed = with_option(with_option(Typed(largest=2.0), "width=3"), "largest=null")
    assert (changed.width, changed.largest) == (3.0, None)
    assert isinstance(changed.width, float)


@dataclass(frozen=True)
class Choices:
    stride: int | None = None
    sigma: float = 1.0
    layers: tuple[int, ...] = (2,)
    shape: Shape = field(default_factory=Shape)
    mode: Literal["a", "b"] = "a"
    on: bool = False


def changed(**values: Any) -> Choices:
    """Options of any type; their own annotations are checked in tests alone."""
    options = Choices()
    for name, value in values.items():
        object.__setattr__(options, name, value)
    return options


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("stride", "8", "int | null"),
        ("stride", 8.0, "int | null"),
        ("stride", True, "int | null"),
        ("sigma", "1", "float"),
        ("sigma", None, "float"),
        ("layers", "2,3", "list of int"),
        ("layers", (2, "3"), "list of int"),
        ("shape", "Disc", "Shape"),
        ("mode", 1, "a | b"),
        ("on", 1, "bool"),
    ],
)
def test_a_value_of_another_type(name: str, value: Any, expected: str) -> None:
    message = f"Choices: {name}={value!r} is of another type; use {expected}"
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        check_types(changed(**{name: value}))


def test_values_of_their_types() -> None:
    check_types(changed(stride=np.int64(8), sigma=np.float32(2), shape=Disc(), on=True))
    check_types(changed(sigma=2, layers=[2, 3]))


def test_a_range_takes_numbers_alone() -> None:
    with pytest.raises(OptionError, match="sigma='2'; use a number"):
        check_range(changed(sigma="2"), "sigma", 0)


def test_untyped_options_are_refused_where_they_are_given() -> None:
    script = """
        from flawmap import Inspector
        from flawmap.errors import OptionError

        given = [{"stride": "8"}, {"sigma": None}, {"false_rejects": "1"}, {"confidence": "1"}]
        for options in [*given, {"calibration_fraction": "0.1"}, {"layers": "2,3"}]:
            try:
                Inspector("patchcore", **options)
            except OptionError:
                print("refused")
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["refused"] * 6
