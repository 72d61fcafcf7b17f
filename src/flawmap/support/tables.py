"""Tables and values as CSV, JSON Lines and JSON: written at once, or row by row as they come.

All of them are UTF-8. A spreadsheet takes a cell that begins with `=`, `+`, `-` or `@` for a
formula, and a name of a file can be one that calls a program. A text that begins so gets an
apostrophe before it in CSV, as OWASP advises, and `plain_cell` takes it away again. JSON has the
text as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flawmap.support.atomic import atomic_write, open_lines
from flawmap.support.names import as_text

TableRow = dict[str, Any]
"""A row of a table: values by column."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""Without it Excel takes UTF-8 for another encoding and garbles paths."""

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
"""Beginnings that a spreadsheet takes for a formula, or that look as if they had been marked."""

_SPECIAL = re.compile(r'[",;\t\r\n]')
"""What ends a cell somewhere: Excel takes semicolons where a comma is the decimal sign."""

_SURROGATES = re.compile("[\ud800-\udfff]+")


def write_csv(file: Path, rows: Sequence[TableRow]) -> None:
    """Write a table as CSV for spreadsheets; the old file stays until the new one is complete.

    Args:
        file: to be written or replaced.
        rows: all with the same columns; None gives an empty cell, True and False give 1 and 0.

    Raises:
        WriteError: there is no space or no permission.

    Example:
        >>> file = getfixture("tmp_path") / "parts.csv"
        >>> write_csv(file, [{"part": "a", "reject": True}, {"part": "b", "reject": None}])
        >>> print(file.read_text("utf-8-sig"), end="")
        part,reject
        a,1
        b,
    """
    columns = list(rows[0]) if rows else []
    with atomic_write(file) as stream:
        stream.write(_header(columns))
        for row in rows:
            stream.write(_csv_line(row, columns))


def write_json(file: Path, value: Any) -> None:
    """Write indented JSON; the old file stays until the new one is complete.

    Args:
        file: to be written or replaced.
        value: what `json.dumps` can take.

    Raises:
        WriteError: there is no space or no permission.
    """
    with atomic_write(file) as stream:
        stream.write(f"{json_text(value, indent=2)}\n".encode())


@contextmanager
def stream_csv(file: Path, columns: Sequence[str]) -> Iterator[Callable[[TableRow], None]]:
    """Replace a CSV file by one that grows row by row; see `open_lines` for what a kill leaves.

    Args:
        file: to be replaced.
        columns: of every row, in order.

    Returns:
        A context manager that gives a function, which appends a row.

    Raises:
        WriteError: there is no space or no permission.

    Example:
        >>> file = getfixture("tmp_path") / "parts.csv"
        >>> with stream_csv(file, ["part", "reject"]) as append:
        ...     append({"part": "a", "reject": True})
        >>> print(file.read_text("utf-8-sig"), end="")
        part,reject
        a,1
    """
    with open_lines(file, _header(columns)) as append:
        yield lambda row: append(_csv_line(row, columns))


@contextmanager
def stream_jsonl(file: Path) -> Iterator[Callable[[TableRow], None]]:
    """Replace a file by one that grows by a JSON object a line; see `open_lines`.

    Args:
        file: to be replaced.

    Returns:
        A context manager that gives a function, which appends a row.

    Raises:
        WriteError: there is no space or no permission.

    Example:
        >>> file = getfixture("tmp_path") / "parts.jsonl"
        >>> with stream_jsonl(file) as append:
        ...     append({"part": "a", "reject": True})
        >>> print(file.read_text(), end="")
        {"part": "a", "reject": true}
    """
    with open_lines(file) as append:
        yield lambda row: append(f"{json_text(row)}\n".encode())


def json_text(value: Any, indent: int | None = None) -> str:
    r"""A value as JSON that UTF-8 can hold and every reader takes.

    Args:
        value: what `json.dumps` can take.
        indent: blanks before each level; None for one line.

    Example:
        >>> print(json_text({"image": "gr\udcfcn.jpg"}))
        {"image": "gr\\xfcn.jpg"}
    """
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    # A name that is no text holds surrogates, which UTF-8 has no bytes for.
    return _SURROGATES.sub(_escape_in_json, text)


def plain_cell(cell: str) -> str:
    """A cell of a CSV file that was written here, as it was before it was made safe.

    Args:
        cell: as a CSV reader gives it.

    Example:
        >>> plain_cell("'=1.png"), plain_cell("'a'")
        ('=1.png', "'a'")
    """
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _header(columns: Sequence[str]) -> bytes:
    return _BYTE_ORDER_MARK + _csv_line({column: column for column in columns}, columns)


def _csv_line(row: TableRow, columns: Sequence[str]) -> bytes:
    line = ",".join(_cell(row[column]) for column in columns)
    return f"{line}\r\n".encode("utf-8", "backslashreplace")


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if not isinstance(value, str):
        return "" if value is None else str(value)
    text = as_text(value)
    if _FORMULA.match(text):
        text = "'" + text
    return '"{}"'.format(text.replace('"', '""')) if _SPECIAL.search(text) else text


def _escape_in_json(match: re.Match[str]) -> str:
    text = as_text(match[0]).encode("utf-8", "backslashreplace").decode()
    return json.dumps(text, ensure_ascii=False)[1:-1]
