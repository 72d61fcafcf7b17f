"""Writes a period of the record as tables, with images where they are wanted."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, desc, func, select

from flawmap.errors import OptionError, RecordError
from flawmap.server.record.database import Database
from flawmap.server.record.files import Category, FileStore
from flawmap.server.record.layout import check_empty
from flawmap.server.record.reader import Row
from flawmap.server.record.statements import table_of
from flawmap.server.record.tables import Decision, Event, Inspection, StoredFile
from flawmap.server.record.writer import RecordWriter, utc_text
from flawmap.support.atomic import atomic_folder, atomic_write
from flawmap.support.progress import report_progress
from flawmap.support.tables import json_text, stream_csv, stream_jsonl, write_json

CSV, JSONL, SUMMARY = "inspections.csv", "inspections.jsonl", "export.json"

_ROWS_AT_ONCE = 500
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,5}")
_LAST = {
    "decided_verdict": "verdict",
    "decided_by": "person",
    "decided_at": "at",
    "decided_reason": "reason",
}
"""Columns of the last decision on a part, by what they are in the decision."""

_FILES = ("image_file", "overlay_file")


@dataclass(frozen=True)
class Selection:
    """Which parts are exported; what is empty does not matter.

    Args:
        since: received at this time or later, as ISO 8601; UTC where it names no zone.
        until: received before this time.
        product: name of the product.

    Raises:
        OptionError: a text is no time.

    Example:
        >>> Selection(since="2026-01-31", until="2026-01-31T12:00+02:00").until
        '2026-01-31T10:00:00.000Z'
    """

    since: str = ""
    until: str = ""
    product: str = ""

    def __post_init__(self) -> None:
        for name in ("since", "until"):
            object.__setattr__(self, name, _moment(name, getattr(self, name)))


@dataclass(frozen=True)
class Export:
    """What was exported.

    Args:
        folder: of the files.
        selection: which parts.
        inspections: their number.
        images: images and overlays that were copied.
        events: number of the last event of the record then.
        head: hash of that event; empty without events.
        sha256: of each table, by the name of its file.
        problems: files that are missing or damaged, a sentence each.
    """

    folder: str
    selection: Selection
    inspections: int
    images: int
    events: int
    head: str
    sha256: dict[str, str]
    problems: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON's types."""
        return asdict(self) | {"problems": list(self.problems)}


def make_export(
    database: Database,
    files: FileStore,
    folder: Path,
    selection: Selection,
    actor: str,
    *,
    images: bool = False,
) -> Export:
    """Write the parts of a period as CSV and as JSON Lines, the oldest first.

    JSON Lines have all decisions of a part, CSV the last one.

    Args:
        database: of the record.
        files: its images and overlays.
        folder: for the tables; missing or empty.
        selection: which parts.
        actor: who does it.
        images: whether images and overlays are copied too.

    Returns:
        What was exported; it is on record, and in the folder as `export.json`.

    Raises:
        RecordError: the database refuses.
        WriteError: the folder is not empty, or cannot be written.
    """
    check_empty(folder)
    with atomic_folder(folder) as temporary:
        copies = _Copies(files, temporary if images else None)
        with database.read() as connection:
            last = connection.execute(
                select(Event.seq, Event.hash).order_by(desc(Event.seq)).limit(1)
            ).first()
            count = _write_tables(connection, temporary, selection, copies)
        export = Export(
            folder=str(folder.absolute()),
            selection=selection,
            inspections=count,
            images=copies.count,
            events=last.seq if last else 0,
            head=last.hash if last else "",
            sha256={name: _sha256(temporary / name) for name in (CSV, JSONL)},
            problems=tuple(copies.problems),
        )
        write_json(temporary / SUMMARY, export.to_dict())
    noted = export.to_dict() | {"problems": len(export.problems)}
    with RecordWriter(database) as writer:
        writer.run(lambda transaction: transaction.append("export.made", "record", actor, noted))
    return export


class _Copies:
    """Copies images, each once; `count` says how many, `problems` which could not be."""

    def __init__(self, files: FileStore, folder: Path | None) -> None:
        self._files = files
        self._folder = folder
        self.count = 0
        self.problems: list[str] = []

    def copy(self, sha256: str, category: Category, suffix: str) -> str:
        """Copy a file; gives its name from the folder, empty where it is not copied."""
        if self._folder is None:
            return ""
        name = f"{category}s/{sha256}{suffix}"
        if (self._folder / name).exists():
            return name
        try:
            data = self._files.read(sha256, category)
        except RecordError as error:
            self.problems.append(str(error))
            return ""
        with atomic_write(self._folder / name) as stream:
            stream.write(data)
        self.count += 1
        return name


class _Details(NamedTuple):
    """What belongs to some inspections beside their rows."""

    decisions: dict[str, list[Row]]
    deleted: set[str]


def _write_tables(
    connection: Connection, folder: Path, selection: Selection, copies: _Copies
) -> int:
    columns = [column.name for column in table_of(Inspection).columns]
    total = connection.scalar(_selected(selection, count=True)) or 0
    count = 0
    with (
        stream_csv(folder / CSV, [*columns, *_LAST, *_FILES]) as append_csv,
        stream_jsonl(folder / JSONL) as append_jsonl,
    ):
        for rows in _batches(connection, selection):
            details = _details(connection, rows)
            for row in rows:
                _write_row(row, details, copies, append_csv, append_jsonl)
            count += len(rows)
            report_progress("parts", count, total)
    return count


def _write_row(
    row: Row,
    details: _Details,
    copies: _Copies,
    append_csv: Callable[[Row], None],
    append_jsonl: Callable[[Row], None],
) -> None:
    decisions = details.decisions.get(row["id"], [])
    kinds: tuple[tuple[Category, str], ...] = (("image", _suffix(row["name"])), ("overlay", ".png"))
    for category, suffix in kinds:
        sha256 = row[f"{category}_sha256"]
        is_there = sha256 is not None and sha256 not in details.deleted
        row[f"{category}_file"] = copies.copy(sha256, category, suffix) if is_there else ""
    append_jsonl(row | {"decisions": decisions})
    last = decisions[-1] if decisions else {}
    cells = {cell: last.get(name) for cell, name in _LAST.items()}
    texts = {
        name: json_text(value) for name, value in row.items() if isinstance(value, list | dict)
    }
    append_csv(row | texts | cells)


def _batches(connection: Connection, selection: Selection) -> Iterator[list[Row]]:
    last = 0
    while True:
        statement = (
            _selected(selection)
            .where(Inspection.received_seq > last)
            .order_by(Inspection.received_seq)
            .limit(_ROWS_AT_ONCE)
        )
        rows = [dict(row) for row in connection.execute(statement).mappings()]
        if not rows:
            return
        yield rows
        last = rows[-1]["received_seq"]


def _selected(selection: Selection, *, count: bool = False) -> Select[Any]:
    table = table_of(Inspection)
    statement: Select[Any] = select(func.count()).select_from(table) if count else select(table)
    if selection.since:
        statement = statement.where(Inspection.received_at >= selection.since)
    if selection.until:
        statement = statement.where(Inspection.received_at < selection.until)
    if selection.product:
        statement = statement.where(Inspection.product == selection.product)
    return statement


def _details(connection: Connection, rows: Sequence[Row]) -> _Details:
    ids = [row["id"] for row in rows]
    hashes = {row[name] for row in rows for name in ("image_sha256", "overlay_sha256")} - {None}
    decisions: dict[str, list[Row]] = {}
    found = select(table_of(Decision)).where(Decision.inspection_id.in_(ids))
    for decision in connection.execute(found.order_by(Decision.seq)).mappings():
        decisions.setdefault(decision["inspection_id"], []).append(dict(decision))
    gone = select(StoredFile.sha256).where(
        StoredFile.sha256.in_(hashes), StoredFile.deleted_at.is_not(None)
    )
    return _Details(decisions, set(connection.scalars(gone)))


def _suffix(name: str) -> str:
    """The ending of a file's name, where no disk and no program takes offence at it."""
    suffix = Path(name).suffix
    return suffix.lower() if _SUFFIX.fullmatch(suffix) else ""


def _moment(name: str, text: str) -> str:
    if not text:
        return ""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise OptionError(
            f"--{name} {text}: is no time; write 2026-01-31 or 2026-01-31T12:00+01:00"
        ) from error
    return utc_text(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
