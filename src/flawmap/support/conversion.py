"""Values of options from JSON, by cattrs: of the type that the option has, or refused."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args, get_origin

from cattrs import Converter, transform_error
from cattrs.errors import BaseValidationError
from cattrs.v import format_exception

from flawmap.errors import FlawmapError, OptionError

CONVERTER = Converter(forbid_extra_keys=True)
"""Takes no other types, where cattrs alone would turn "maybe" into true, and 1.5 into 1."""


def in_words(hint: Any) -> str:
    """The type of an option, as a user reads it.

    Args:
        hint: the option's annotation.

    Example:
        >>> in_words(tuple[int, ...])
        'list of int'
    """
    if get_origin(hint) is Literal:
        return " | ".join(map(str, get_args(hint)))
    if get_origin(hint) is tuple:
        return f"list of {in_words(get_args(hint)[0])}"
    alternatives = get_args(hint)
    if alternatives:
        return " | ".join(map(in_words, alternatives))
    name: str = "null" if hint is type(None) else getattr(hint, "__name__", str(hint))
    return name


def describe_problems(error: BaseValidationError, path: str) -> str:
    """What is wrong with values that cattrs could not convert, each with its place.

    Args:
        error: what cattrs raised.
        path: where the values stand, such as `options`.
    """
    return "; ".join(transform_error(error, path, _format))


def _format(error: BaseException, expected: Any) -> str:
    if isinstance(error, FlawmapError):
        return str(error)
    if get_origin(expected) is Literal:
        return f"invalid value, expected {in_words(expected)}"
    return format_exception(error, expected)


def _structure_bool(value: Any, _: object) -> bool:
    if not isinstance(value, bool):
        raise OptionError(f"{value!r} is neither true nor false, expected bool")
    return value


def _structure_int(value: Any, _: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise OptionError(f"{value!r} is no whole number, expected int")
    return value


def _structure_float(value: Any, _: object) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):
        raise OptionError(f"{value!r} is no finite number, expected float")
    return float(value)


def _structure_str(value: Any, _: object) -> str:
    if not isinstance(value, str):
        raise OptionError(f"{value!r} is no text, expected str")
    return value


def _structure_tuple(value: Any, hint: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise OptionError(f"{value!r} is no list in brackets, expected {in_words(hint)}")
    values: tuple[Any, ...] = _ANY_TUPLE(value, hint)
    return values


def _is_tuple(hint: Any) -> bool:
    return get_origin(hint) is tuple


_ANY_TUPLE = CONVERTER.get_structure_hook(tuple[int, ...])
CONVERTER.register_structure_hook(bool, _structure_bool)
CONVERTER.register_structure_hook(int, _structure_int)
CONVERTER.register_structure_hook(float, _structure_float)
CONVERTER.register_structure_hook(str, _structure_str)
CONVERTER.register_structure_hook_func(_is_tuple, _structure_tuple)
