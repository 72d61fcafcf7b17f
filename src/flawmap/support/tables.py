"""Tables and values as CSV, JSON Lines and JSON: written at once, or row by row as they come."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flawmap.support.atomic import atomic_write, open_lines

TableRow = dict[str, Any]
"""A row of a table: values by column."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""Without it Excel takes UTF-8 for another encoding and garbles paths."""


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
    text = json.dumps(value, ensure_ascii=False, indent=2) + "\n"
    with atomic_write(file) as stream:
        stream.write(_encode(text))


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
        yield lambda row: append(_encode(json.dumps(row, ensure_ascii=False) + "\n"))


def _header(columns: Sequence[str]) -> bytes:
    return _BYTE_ORDER_MARK + _csv_line({column: column for column in columns}, columns)


def _csv_line(row: TableRow, columns: Sequence[str]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerow([_cell(row[column]) for column in columns])
    return _encode(text.getvalue())


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    return "" if value is None else value


def _encode(text: str) -> bytes:
    # A file name that is not text in this system's encoding holds surrogates, which UTF-8 has no
    # bytes for. They become \udc80 and the like, which JSON reads back as what they were.
    return text.encode("utf-8", "backslashreplace")
