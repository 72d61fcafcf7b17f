from __future__ import annotations

import inspect

import pytest

from flawmap import errors
from flawmap.errors import FlawmapError, MissingExtra, OptionError, UnknownName

CLASSES = [member for _, member in inspect.getmembers(errors, inspect.isclass)]


def test_the_list_in_the_docstring_is_complete() -> None:
    drawn = [
        line.split("── ")[-1].split()[0] for line in errors.__doc__.splitlines() if "──" in line
    ]
    assert sorted(["FlawmapError", *drawn]) == sorted(error.__name__ for error in CLASSES)


def test_the_tree_in_the_docstring_is_that_of_the_classes() -> None:
    parents: list[str] = ["FlawmapError"]
    for line in errors.__doc__.splitlines():
        if "──" not in line:
            continue
        depth = line.index("── ") // 4
        name = line.split("── ")[1].split()[0]
        assert getattr(errors, parents[depth - 1]) in getattr(errors, name).__bases__
        parents[depth:] = [name]


@pytest.mark.parametrize("error", CLASSES)
def test_every_error_is_caught_by_its_base_and_keeps_its_message(error: type[Exception]) -> None:
    with pytest.raises(FlawmapError) as raised:
        raise error("what was wrong")
    assert str(raised.value) == "what was wrong"


def test_some_are_errors_of_python_as_well() -> None:
    assert issubclass(OptionError, ValueError)
    assert issubclass(UnknownName, KeyError)
    assert issubclass(MissingExtra, ImportError)
