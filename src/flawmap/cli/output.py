"""What a command shows of its results: lines for people, JSON for programs, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from flawmap.cli.console import notes, out
from flawmap.support.tables import json_text

JsonOption = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print one JSON document in place of the lines (docs/commands.md); all else is on "
        "standard error.",
    ),
]
JsonLinesOption = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print JSON in place of the lines: one line for each image, as in results.jsonl "
        "(docs/record.md), and nothing else; one document with --dry-run.",
    ),
]
QuietOption = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print errors and warnings alone; with --json, JSON too."),
]


@dataclass
class _Output:
    """What the command that runs was told to show, and what it has found so far, by product."""

    as_json: bool = False
    in_lines: bool = False
    product: str = ""
    results: dict[str, dict[str, Any]] = field(default_factory=dict)


_output = _Output()


def choose_output(*, as_json: bool, quiet: bool, in_lines: bool = False) -> None:
    """Show results as lines, as JSON, or not at all, until the next command chooses.

    Args:
        as_json: whether JSON takes the place of lines.
        quiet: whether lines and notes are not shown.
        in_lines: whether JSON comes by `print_json_line`, and not as one document.
    """
    out.quiet = as_json or quiet
    notes.quiet = quiet
    _output.as_json = as_json
    _output.in_lines = in_lines
    _output.results = {}
    _output.product = ""


def begin_product(name: str) -> None:
    """What is found from now on is of this product.

    Args:
        name: of the product.
    """
    _output.product = name


def drop_product() -> None:
    """Forget what was found of the product at hand, which failed."""
    _output.results.pop(_output.product, None)


def add_result(**values: Any) -> None:
    """Keep what was found of the product at hand, for the JSON document.

    Args:
        values: by key, as docs/commands.md lists them.
    """
    _output.results.setdefault(_output.product, {}).update(values)


def print_results(*, by_product: bool) -> None:
    """Print the JSON document of what was found, where one was asked for.

    Args:
        by_product: whether it has an object for each product; else it is the object of the one.
    """
    if by_product:
        print_document(_output.results)
    elif _output.results:
        print_document(next(iter(_output.results.values())))


def print_document(value: Mapping[str, Any]) -> None:
    """Print a JSON document, where one was asked for.

    Args:
        value: what `json.dumps` can take.
    """
    if _output.as_json and not _output.in_lines:
        _print_json(value, indent=2)


def print_json_line(make: Callable[[], Mapping[str, Any]]) -> None:
    """Print a line of JSON, where JSON was asked for.

    Args:
        make: called for what `json.dumps` can take, where it is needed.
    """
    if _output.as_json:
        _print_json(make(), indent=None)


def _print_json(value: Mapping[str, Any], indent: int | None) -> None:
    # Not by rich, which colours where an environment variable asks for it.
    stream = out.file
    encoding = getattr(stream, "encoding", None) or "utf-8"
    is_unicode = encoding.lower().startswith("utf")
    stream.write(f"{json_text(value, indent, ascii_only=not is_unicode)}\n")
    stream.flush()
