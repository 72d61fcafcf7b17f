"""Options to JSON and back: dataclasses of numbers, words, and components.

A component is a replaceable piece of a method, itself a frozen dataclass of options. Each family
of them, such as the reducers, is a `Components` registry.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields, is_dataclass
from numbers import Integral, Real
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from cattrs.errors import BaseValidationError
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn

from flawmap.errors import OptionError
from flawmap.support.conversion import CONVERTER, describe_problems, in_words
from flawmap.support.registry import Registry

_T = TypeVar("_T")

_TYPE = "type"
"""Key of a component's name."""

_SOURCE = "source"
"""Key that says where a component comes from; flawmap's own have none."""

_FAMILIES: list[Components] = []


class Components(Registry[type[Any]]):
    """A family of components by their names; other packages may add theirs.

    Wherever a dataclass of options has a field of the family's base class, `to_dict` and
    `from_dict` write and read the component with its name under `type`.

    Args:
        kind: what a component of the family is, in one or two words for messages.
        base: base class of all of them.
        built_in: flawmap's own classes, by their names.

    Example:
        >>> from dataclasses import dataclass
        >>> from flawmap.features.context import CONTEXTS, Neighbourhood
        >>> @dataclass(frozen=True)
        ... class Unpadded(Neighbourhood):
        ...     weight: float = 0.5
        >>> CONTEXTS.register("Unpadded", Unpadded)
        >>> CONTEXTS["Unpadded"](weight=0.25).weight
        0.25
    """

    def __init__(self, kind: str, base: type, built_in: Iterable[type]) -> None:
        super().__init__(kind, "flawmap.components", {cls.__name__: cls for cls in built_in})
        self.base = base
        _FAMILIES.append(self)
        CONVERTER.register_unstructure_hook(base, self._to_dict)
        CONVERTER.register_structure_hook(base, self._from_dict)

    def accept(self, value: object) -> type[Any] | None:
        """The class itself; None where it belongs to another family.

        Args:
            value: what was registered, or what an entry point names.

        Raises:
            OptionError: it is no dataclass of any family.
        """
        if isinstance(value, type) and is_dataclass(value):
            if issubclass(value, self.base):
                return value
            if any(issubclass(value, family.base) for family in _FAMILIES):
                return None
        bases = ", ".join(family.base.__name__ for family in _FAMILIES)
        raise OptionError(f"{value!r} is no dataclass with one of the bases {bases}")

    def class_of(self, entry: type[Any]) -> type[Any]:
        """The class itself.

        Args:
            entry: a class of the family.
        """
        return entry

    def _to_dict(self, component: Any) -> dict[str, Any]:
        cls = type(component)
        name, source = self.name_of(cls)
        labels = {_TYPE: name, _SOURCE: source} if source else {_TYPE: name}
        values: dict[str, Any] = make_dict_unstructure_fn(cls, CONVERTER)(component)
        return labels | values

    def _from_dict(self, values: Any, _: object) -> Any:
        if not isinstance(values, dict) or _TYPE not in values:
            raise OptionError(f"{values!r} names no {self.kind}; write {{{_TYPE!r}: NAME, ...}}")
        cls = self.from_source(values[_TYPE], values[_SOURCE]) if _SOURCE in values else None
        cls = cls or self[values[_TYPE]]
        option_values = {
            name: value for name, value in values.items() if name not in (_TYPE, _SOURCE)
        }
        structure = make_dict_structure_fn(cls, CONVERTER, _cattrs_forbid_extra_keys=True)
        return structure(option_values, cls)


@dataclass(frozen=True)
class Option:
    """An option as `flawmap methods NAME` lists it.

    Args:
        name: as it is typed after `--set`; a component's own options follow a dot.
        type: in words: `float`, `tokens | cosine`, or the kind of a component.
        value: at present; a component's name.
        default: of the class that has the option.
        symbol: the paper's sign for it, or nothing.
    """

    name: str
    type: str
    value: Any
    default: Any
    symbol: str = ""


def to_dict(options: Any) -> dict[str, Any]:
    """The options of a dataclass as JSON can hold them.

    Args:
        options: the dataclass; each component in it is written with its name under `type`, and
            one from another package with its `source`.

    Example:
        >>> from flawmap.memory.bank import Reweighted
        >>> to_dict(Reweighted(neighbours=5))
        {'type': 'Reweighted', 'neighbours': 5}
    """
    values: dict[str, Any] = CONVERTER.unstructure(options)
    return values


def from_dict(values: dict[str, Any], cls: type[_T]) -> _T:
    """The dataclass of options with these values.

    Args:
        values: what `to_dict` gave; an option that is not among them has its default.
        cls: the dataclass of options, or the base class of a family of components.

    Raises:
        OptionError: an unknown option or component, or a value of the wrong type.

    Example:
        >>> from flawmap.memory.bank import ImageScore
        >>> from_dict({"type": "Reweighted"}, ImageScore)
        Reweighted(neighbours=9)
    """
    try:
        return CONVERTER.structure(values, cls)
    except BaseValidationError as error:
        problems = describe_problems(error, "options")
        name = f"{cls.__name__}: "  # `check_range` says it already.
        raise OptionError(name + problems.removeprefix(name)) from error


def with_option(options: _T, change: str) -> _T:
    """The same options with one change; the old ones stay as they are.

    Args:
        options: a method, or another dataclass of options.
        change: NAME=VALUE, or NAME.NAME=VALUE for an option of a component. The value is read as
            JSON where it can be, and else as text; a component is named.

    Raises:
        OptionError: no such option or component, or a value that cannot be.

    Example:
        >>> from flawmap.methods import make_method
        >>> method = with_option(make_method("sa-patchcore"), "context.attend=cosine")
        >>> with_option(method, "reducer=PCA").reducer
        PCA(ratio=0.1, rows=100000)
    """
    path, equals, text = change.partition("=")
    *parents, name = path.split(".")
    values = to_dict(options)
    settings = _descend(values, parents)
    available = [option for option in settings or values if option not in (_TYPE, _SOURCE)]
    if not equals or settings is None or name not in available:
        raise OptionError(f"{change!r}: write NAME=VALUE with a name among {', '.join(available)}")
    is_component = isinstance(settings[name], dict)
    settings[name] = {_TYPE: text} if is_component else _parse_value(text)
    return from_dict(values, type(options))


def list_options(options: Any, prefix: str = "") -> list[Option]:
    """All options of a dataclass, each component followed by its own.

    Args:
        options: a method, or another dataclass of options.
        prefix: begins the names, such as `context.` for those of a component.

    Example:
        >>> from flawmap.methods import make_method
        >>> options = {option.name: option for option in list_options(make_method("sa-patchcore"))}
        >>> options["context.attend"].type, options["context.attend"].value
        ('tokens | cosine | per_channel', 'per_channel')
    """
    hints = get_type_hints(type(options))
    families = component_fields(type(options))
    listed = []
    for field in fields(options):
        name = prefix + field.name
        value = getattr(options, field.name)
        symbol = field.metadata.get("symbol", "")
        if field.name not in families:
            type_in_words = in_words(hints[field.name])
            listed.append(Option(name, type_in_words, value, field.default, symbol))
            continue
        family = families[field.name]
        chosen, _ = family.name_of(type(value))
        default, _ = family.name_of(type(field.default))
        listed.append(Option(name, family.kind, chosen, default, symbol))
        listed.extend(list_options(value, f"{name}."))
    return listed


def check_range(options: Any, name: str, minimum: float, maximum: float = math.inf) -> None:
    """Nothing, where an option lies in its range or is None; for `__post_init__`.

    Args:
        options: a method, or another dataclass of options.
        name: of the option.
        minimum: smallest value it may have.
        maximum: largest value it may have.

    Raises:
        OptionError: the option lies outside.

    Example:
        >>> from flawmap.memory.bank import Reweighted
        >>> Reweighted(neighbours=0)
        Traceback (most recent call last):
        flawmap.errors.OptionError: Reweighted: neighbours=0; use 1 or more
    """
    value = getattr(options, name)
    if value is not None and not is_number(value):
        raise OptionError(f"{type(options).__name__}: {name}={value!r}; use a number")
    if value is None or minimum <= value <= maximum:
        return
    allowed = f"{minimum} or more" if maximum == math.inf else f"{minimum} to {maximum}"
    raise OptionError(f"{type(options).__name__}: {name}={value}; use {allowed}")


def is_number(value: object) -> bool:
    """Whether a value is a number, of Python or of NumPy, and no truth value.

    Args:
        value: any.

    Example:
        >>> is_number(0.5), is_number("0.5"), is_number(True)
        (True, False, False)
    """
    return isinstance(value, Real) and not isinstance(value, bool)


def check_types(options: Any) -> None:
    """Nothing, where each option has a value of its type; for `__post_init__`.

    Args:
        options: a method, or another dataclass of options.

    Raises:
        OptionError: one has not.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Options:
        ...     stride: int = 8
        >>> check_types(Options(8))
    """
    hints = get_type_hints(type(options))
    for field in fields(options):
        value = getattr(options, field.name)
        if not _fits(value, hints[field.name]):
            raise OptionError(
                f"{type(options).__name__}: {field.name}={value!r} is of another type; use "
                f"{in_words(hints[field.name])}"
            )


def component_fields(cls: type) -> dict[str, Components]:
    """The options of a dataclass that are components, and the family of each.

    Args:
        cls: a method's class, or another dataclass of options.

    Example:
        >>> from flawmap.methods.patchcore import PatchCore
        >>> list(component_fields(PatchCore))
        ['context', 'reducer', 'image_score', 'tile_score', 'registration']
    """
    by_base = {family.base: family for family in _FAMILIES}
    hints = get_type_hints(cls)
    names = [field.name for field in fields(cls)]
    return {name: by_base[hints[name]] for name in names if hints[name] in by_base}


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a type; of a list of words each word is, its own check says more."""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, inner) for inner in get_args(hint))
    if origin is Literal:
        return isinstance(value, str)
    if origin is tuple:
        inner = get_args(hint)[0]
        return isinstance(value, tuple | list) and all(_fits(item, inner) for item in value)
    if hint is float:
        return is_number(value)
    if hint is int:
        return is_number(value) and isinstance(value, Integral)
    return not isinstance(hint, type) or isinstance(value, hint)


def _descend(values: dict[str, Any], parents: Iterable[str]) -> dict[str, Any] | None:
    """The settings of a component within a component, or None where there is none."""
    settings: Any = values
    for parent in parents:
        settings = settings.get(parent) if isinstance(settings, dict) else None
    return settings if isinstance(settings, dict) else None


def _parse_value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # the second: lists in lists in lists
        return text
