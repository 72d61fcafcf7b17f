"""The method that an inspector is made with: by its name and options, or as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from flawmap.data.auto_size import InputSize
from flawmap.errors import OptionError
from flawmap.methods import get_preset, make_method
from flawmap.methods.base import Method


class _ChosenMethod(NamedTuple):
    """A method, and what goes with it.

    Args:
        method: the method, not fitted.
        name: its name, for messages and records.
        size: of the network's input, as its preset has it; None where that has none.
    """

    method: Method
    name: str
    size: InputSize | None


def choose_method(
    method: str | Method, preset: str | None, options: Mapping[str, Any]
) -> _ChosenMethod:
    """The method of a name with its options, or the method itself.

    Args:
        method: a name, or a method that is made already.
        preset: settings of a method given by name; None for its default.
        options: options of a method given by name.

    Raises:
        OptionError: no such method, preset or option, or some beside a method that is made already.

    Example:
        >>> choose_method("glass", "paper", {"seed": 3}).size
        288
    """
    if isinstance(method, str):
        size = get_preset(method, preset).size
        return _ChosenMethod(make_method(method, preset, **options), method, size)
    if not isinstance(method, Method):
        raise OptionError(f"{method!r} is neither a method's name nor a method, as PaDiM() is")
    # What would be silently ignored: a method that was made has its options.
    given = [*([f"preset={preset!r}"] if preset is not None else []), *options]
    name = type(method).__name__
    if given:
        raise OptionError(
            f"{', '.join(given)} beside a method that is made already; give them to {name}, or "
            "give the method by its name"
        )
    return _ChosenMethod(method, name, None)
