"""`flawmap methods`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Column, Table

from flawmap.cli.common import app
from flawmap.cli.console import out
from flawmap.cli.output import JsonOption, QuietOption, choose_output, print_document
from flawmap.errors import OptionError

if TYPE_CHECKING:
    from flawmap.methods import MethodEntry
    from flawmap.methods.base import Method
    from flawmap.support.options import Components


@app.command()
def methods(
    name: Annotated[
        str | None,
        typer.Argument(help="Of a method, to list its options.", metavar="NAME"),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="List the options with the values of this preset.")
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """List the methods, or the options of one."""
    choose_output(as_json=as_json, quiet=quiet)
    from flawmap.methods import METHODS, make_method

    if name is not None:
        method = make_method(name, preset)
        print_document({**_to_dict(name), **_options_to_dict(method)})
        out.print(f"[bold]{escape(name)}[/]  {escape(_origin(name))}\n{METHODS[name].learned}")
        _print_options(method)
        _print_components(method)
        _print_presets({name: METHODS[name]})
        return
    if preset is not None:
        raise OptionError(f"--preset {preset} of which method? write flawmap methods NAME --preset")
    print_document({known: _to_dict(known) for known in METHODS})
    _print_methods()
    _print_presets(METHODS)
    out.print(
        "Size: beside the backbone, for 500 images at 224 px with WideResNet-50-2 where none is "
        "named. `flawmap methods NAME` lists the options of a method."
    )


def _to_dict(name: str) -> dict[str, Any]:
    """What is known of a method without its options."""
    from flawmap.methods import METHODS

    entry = METHODS[name]
    return {
        "citation": entry.citation,
        "source": METHODS.source(name),
        "reconstruction": entry.reconstruction,
        "learned": entry.learned,
        "storage": entry.storage,
        "exportable": not METHODS.class_of(entry).not_exportable,
        "presets": {preset: known.summary for preset, known in entry.presets.items()},
        "default_preset": entry.default_preset,
    }


def _options_to_dict(method: Method) -> dict[str, Any]:
    """The options of a method, and what its components can be replaced by."""
    from flawmap.support.options import component_fields, list_options

    components = component_fields(type(method))
    return {
        "options": [vars(option) for option in list_options(method)],
        "components": {name: list(family) for name, family in components.items()},
    }


def _origin(name: str) -> str:
    """Whose method it is, and the package that brings it."""
    from flawmap.methods import METHODS

    entry = METHODS[name]
    notes = [entry.citation, METHODS.source(name)]
    if entry.reconstruction:
        notes.append("reconstruction")
    first, *others = [note for note in notes if note] or [""]
    return "\n".join([first, *(f"({note})" for note in others)])


def _print_methods() -> None:
    from flawmap.methods import METHODS

    table = Table(
        Column("method", no_wrap=True),
        "learned",
        Column("size", no_wrap=True),
        Column("exportable", no_wrap=True),
        box=SIMPLE,
        pad_edge=False,
    )
    for name, entry in METHODS.items():
        exportable = "no" if METHODS.class_of(entry).not_exportable else "yes"
        label = escape(f"{name}\n{_origin(name)}")
        table.add_row(label, escape(entry.learned), entry.storage, exportable)
        table.add_row()
    out.print(table)


def _print_presets(entries: Mapping[str, MethodEntry]) -> None:
    """The presets of each method, the one that applies where none is asked for marked as such."""
    table = Table(Column("method", no_wrap=True), Column("--preset", no_wrap=True), "", box=SIMPLE)
    for name, entry in entries.items():
        for preset_name, preset in entry.presets.items():
            mark = " (default)" if preset_name == entry.default_preset else ""
            table.add_row(escape(name), escape(preset_name + mark), escape(preset.summary))
    if table.row_count:
        out.print(table)


def _print_options(method: Method) -> None:
    from flawmap.support.options import list_options

    options = list_options(method)
    has_symbols = any(option.symbol for option in options)
    headings = ["type", "value", "default", *(["symbol"] if has_symbols else [])]
    table = _folding_table("option", *headings)
    for option in options:
        default = "" if option.default == option.value else _as_typed(option.default)
        row = [option.name, option.type, _as_typed(option.value), default, option.symbol]
        table.add_row(*map(escape, row[: 1 + len(headings)]))
    out.print(table)
    symbols = " Symbols are the paper's." if has_symbols else ""
    out.print(
        "Default: the class's own, where it is another. Set an option with "
        f"`flawmap fit --set NAME=VALUE`.{symbols}"
    )


def _folding_table(first: str, *others: str) -> Table:
    """A table whose first column is never broken, and whose others are broken but never cut."""
    columns = [Column(heading, overflow="fold") for heading in others]
    return Table(Column(first, no_wrap=True), *columns, box=SIMPLE, pad_edge=False)


def _print_components(method: Method) -> None:
    """What each component can be replaced by, with the options that it then has."""
    from flawmap.support.options import component_fields

    table = Table(
        Column("component", no_wrap=True),
        Column("can be", no_wrap=True),
        Column("with the options", overflow="fold"),
        box=SIMPLE,
        pad_edge=False,
    )
    for field_name, family in component_fields(type(method)).items():
        for index, component in enumerate(family):
            label = f"{component}\n({family.source(component)})".removesuffix("\n()")
            options = _describe(family, component)
            table.add_row("" if index else field_name, escape(label), escape(options))
    if table.row_count:
        out.print(table)


def _describe(family: Components, component: str) -> str:
    from flawmap.support.options import list_options

    options = list_options(family[component]())
    return ", ".join(f"{option.name}={_as_typed(option.value)}" for option in options)


def _as_typed(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
