"""Rows of a CSV file as spreadsheets and scripts write it, each with its line."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from flawmap.errors import DatasetError
from flawmap.support.tables import plain_cell

_SEPARATORS = (",", ";", "\t")
_NAMED_SEPARATOR = re.compile(r'"?sep=(.)"?[ \t]*[\r\n]')
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class CsvRow(NamedTuple):
    """A row of a CSV file.

    Args:
        line: where it begins, from 1.
        cells: without blanks around them, and without the mark of formulas (`plain_cell`).
    """

    line: int
    cells: list[str]


def read_csv_rows(file: Path) -> list[CsvRow]:
    r"""The rows of a CSV file, first its header; rows without any text are left out.

    UTF-8, or UTF-16 with a byte order mark, as Excel writes "Unicode text". Commas, semicolons or
    tabs between the cells, whichever the header has, or the one that a first line `sep=;` names.

    Args:
        file: path of the file.

    Returns:
        Rows with as many cells as the header; none for an empty file.

    Raises:
        DatasetError: it is no such file, or a row cannot be read as its writer meant it, named by
            its line.

    Example:
        >>> file = getfixture("tmp_path") / "parts.csv"
        >>> _ = file.write_text('path;label\n"a;b.png"; ok\n')
        >>> [row.cells for row in read_csv_rows(file)]
        [['path', 'label'], ['a;b.png', 'ok']]
    """
    text = _text(file)
    named = _NAMED_SEPARATOR.match(text)
    separator = named.group(1) if named else _sniff(text)
    # The line that names the separator stays, so that lines are counted right.
    rows = list(_parse(text, separator, file))[1 if named else 0 :]
    return [_fitted(row, rows[0], file) for row in rows]


def read_header(file: Path) -> list[str]:
    """The first row of a CSV file, also where others cannot be read; empty for what is no CSV.

    Args:
        file: path of the file.
    """
    try:
        with file.open("rb") as stream:
            start = stream.read(10_000)
    except OSError:
        return []
    encoding = "utf-16" if start.startswith(_UTF16_MARKS) else "utf-8-sig"
    text = start.decode(encoding, "replace")
    if "\0" in text:
        return []
    named = _NAMED_SEPARATOR.match(text)
    lines = [line for line in re.split(r"[\r\n]+", text) if line][1 if named else 0 :]
    header = lines[0] if lines else ""
    return [cell.strip(' "') for cell in header.split(named.group(1) if named else _sniff(header))]


def _text(file: Path) -> str:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DatasetError(f"{file}: cannot be read ({error.strerror})") from error
    if data.startswith(_UTF16_MARKS):
        try:
            return data.decode("utf-16")
        except UnicodeDecodeError as error:
            raise DatasetError(f"{file}: begins as UTF-16 and is none ({error.reason})") from error
    problem = "cannot be read as a CSV manifest in UTF-8"
    if b"\0" in data:
        line = data[: data.index(b"\0")].count(b"\n") + 1
        raise DatasetError(f"{file}: {problem}: line {line} holds a NUL byte, as no text does")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DatasetError(
            f"{file}: {problem}: line {line} holds the byte 0x{data[error.start]:02x}, perhaps "
            'from cp1252, which Excel writes as "CSV"; save it as "CSV UTF-8"'
        ) from error


def _sniff(text: str) -> str:
    """The separator of a header; rows do not count, for names of files may hold any of them."""
    header = re.split(r"[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0]
    return max(_SEPARATORS, key=header.count)


def _parse(text: str, separator: str, file: Path) -> Iterator[CsvRow]:
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DatasetError(f"{file}, line {line}: {_explain(error)}") from error
        cells = [plain_cell(cell.strip()) for cell in cells]
        if any(cells):
            yield CsvRow(line, cells)


def _explain(error: csv.Error) -> str:
    if "field larger" in str(error):
        limit = csv.field_size_limit()
        return f"a cell has more than {limit:,} characters; is a quote not closed?"
    return (
        "a quote is not closed, or text follows a closed one; a quote inside a quoted cell is "
        f"written twice ({error})"
    )


def _fitted(row: CsvRow, header: CsvRow, file: Path) -> CsvRow:
    """The row without empty cells beyond the header's."""
    width = len(header.cells)
    if len(row.cells) < width or any(row.cells[width:]):
        raise DatasetError(
            f"{file}, line {row.line}: {len(row.cells)} cells where the header has {width}; put "
            "text that holds the separator into quotes, and leave cells empty rather than out"
        )
    return CsvRow(row.line, row.cells[:width])
