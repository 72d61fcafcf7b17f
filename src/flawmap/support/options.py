"""Options to JSON and back.

Dataclasses of numbers, words, and parts that are dataclasses themselves.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any, TypeVar

from cattrs import Converter, transform_error
from cattrs.errors import BaseValidationError
from cattrs.strategies import configure_tagged_union, include_subclasses
from cattrs.v import format_exception

from flawmap.errors import OptionError

T = TypeVar("T")

TYPE_KEY = "type"
"""Key of a component's class name."""


def to_dict(options: Any, component_types: tuple[type, ...] = ()) -> dict[str, Any]:
    """The options of a dataclass as JSON can hold them.

    Args:
        options: the dataclass.
        component_types: base classes of its components; each component is saved with its class
            name under `type`.
    """
    values: dict[str, Any] = _converter(component_types).unstructure(options)
    return values


def from_dict(values: dict[str, Any], cls: type[T], component_types: tuple[type, ...] = ()) -> T:
    """Make a dataclass of options from what `to_json` said.

    Raises:
        OptionError: an unknown option, or a value of the wrong type.
    """
    try:
        return _converter(component_types).structure(values, cls)
    except BaseValidationError as error:
        problems = transform_error(error, path="options", format_exception=_format)
        raise OptionError(f"{cls.__name__}: {'; '.join(problems)}") from error


def _format(error: BaseException, wanted: type | None) -> str:
    if isinstance(error, OptionError):
        return str(error)
    # Every option has a default, so what is missing can only be the class that a part's kind names.
    return (
        f"there is no part {error.args[0]!r}"
        if isinstance(error, KeyError)
        else format_exception(error, wanted)
    )


@cache
def _converter(component_types: tuple[type, ...]) -> Converter:
    converter = Converter(forbid_extra_keys=True)
    for family in component_types:
        include_subclasses(
            family, converter, union_strategy=partial(configure_tagged_union, tag_name=TYPE_KEY)
        )
    return converter
