"""Options of nested components as one flat mapping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def flatten(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Options by their dotted names, as `--set` takes them.

    Args:
        options: values by name, as `to_dict` returns them; a component is a mapping with its class
            name under `type`.
        prefix: begins the names, such as `context.`.

    >>> flatten({"seed": 0, "context": {"type": "Neighbourhood", "size": 3}})
    {'seed': 0, 'context': 'Neighbourhood', 'context.size': 3}
    """
    flat: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, Mapping) and "type" in value:
            flat[prefix + name] = value["type"]
            inner = {key: option for key, option in value.items() if key != "type"}
            flat |= flatten(inner, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def changes(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The options that differ from their defaults, by their dotted names.

    Args:
        options: values by name, as `to_dict` returns them.
        defaults: likewise; an option that is not among them counts as changed.

    >>> changes({"seed": 7, "sigma": 4.0}, {"seed": 0, "sigma": 4.0})
    {'seed': 7}
    """
    flat_defaults = flatten(defaults)
    missing = object()
    return {
        name: value
        for name, value in flatten(options).items()
        if flat_defaults.get(name, missing) != value
    }
