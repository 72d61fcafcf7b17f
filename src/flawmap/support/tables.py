"""What inspections leave on disk: tables and images, each written aside and then put in place."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from flawmap.support.atomic import atomic_write

TableRow = dict[str, Any]
"""A row of a table: values by column."""


def write_csv(file: Path, records: Sequence[TableRow]) -> None:
    """Write a table for spreadsheets.

    UTF-8 with a byte-order mark, without which Excel garbles paths.
    """
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, fieldnames=list(records[0]) if records else [])
    table.writeheader()
    table.writerows(
        {column: _cell(value) for column, value in record.items()} for record in records
    )
    _write_text(file, text.getvalue(), "utf-8-sig")


def write_jsonl(file: Path, records: Iterable[TableRow]) -> None:
    """Write a table as one JSON object a line."""
    _write_text(file, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))


def write_json(file: Path, value: Any) -> None:
    """Write JSON for people: indented."""
    _write_text(file, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def _write_text(file: Path, text: str, encoding: str = "utf-8") -> None:
    with atomic_write(file) as stream:
        stream.write(text.encode(encoding))


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    return "" if value is None else value
