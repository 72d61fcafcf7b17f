"""Compares a record with itself: chain, tables, files and checkpoints.

What fits together may still be another record altogether. Only checkpoints that are kept where the
station's machine cannot change them show that.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select, text

from flawmap.errors import RecordError
from flawmap.server.record.chain_walk import ChainWalk, PlacedCheckpoint
from flawmap.server.record.checkpoints import read_checkpoints
from flawmap.server.record.database import Database
from flawmap.server.record.files import FileStore
from flawmap.server.record.rebuilt import Note, RebuiltTables
from flawmap.server.record.tables import StoredFile, StoredInspector
from flawmap.support.progress import track

_ROWS_AT_ONCE = 1000


@dataclass(frozen=True)
class Finding:
    """Something in a record that does not fit.

    Args:
        kind: what was looked at: `seq`, `prev`, `hash`, `columns`, `time`, `replay`, the name of a
            table, `trigger`, `file`, `checkpoint` or `inspector file`.
        text: the first such thing, in a sentence.
        count: how many there are.
    """

    kind: str
    text: str
    count: int


@dataclass(frozen=True)
class Report:
    """What was compared, and what does not fit.

    Args:
        events: in the chain.
        head: hash of the last event; empty without events.
        rows: that were compared with the events.
        files: images and overlays that were read.
        checkpoints: in the database and outside of it.
        findings: the first of each kind.

    Example:
        >>> Report(1, "ab", 2, 3, 4, ()).is_fine
        True
    """

    events: int
    head: str
    rows: int
    files: int
    checkpoints: int
    findings: tuple[Finding, ...]

    @property
    def is_fine(self) -> bool:
        """Whether all fits."""
        return not self.findings

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON's types."""
        return {"is_fine": self.is_fine} | asdict(self)


def verify(
    database: Database,
    files: FileStore,
    checkpoints: Path | None = None,
    *,
    inspectors: Path | None = None,
) -> Report:
    """Compare a record with itself; nothing is changed, and a station may run meanwhile.

    Args:
        database: of the record.
        files: its images and overlays.
        checkpoints: file of the checkpoints outside the database; None to do without.
        inspectors: folder of the inspectors' files; None to leave them out.

    Returns:
        What was compared, and the first bad thing of each kind.

    Raises:
        RecordError: the database cannot be read.
    """
    findings: dict[str, Finding] = {}

    def note(kind: str, text: str) -> None:
        first = findings.get(kind, Finding(kind, text, 0))
        findings[kind] = replace(first, count=first.count + 1)

    # The outside file first: a checkpoint that is written meanwhile would be beyond the end.
    is_missing = checkpoints is not None and not checkpoints.exists()
    outside = [] if checkpoints is None or is_missing else _outside(checkpoints, note)
    with database.read() as connection, RebuiltTables(note) as tables:
        walk = ChainWalk(connection, note, outside)
        for kind, stamps, data in walk.events():
            tables.apply(kind, stamps, data)
        walk.check_end()
        if is_missing and walk.checkpoints:
            note("checkpoint", f"{checkpoints}: is missing, though there are checkpoints")
        rows = tables.compare(connection)
        _check_triggers(connection, note)
        count = _check_files(connection, database, files, note)
        if inspectors is not None:
            _check_inspectors(connection, inspectors, note)
    head = walk.prev if walk.seq else ""
    return Report(walk.count, head, rows, count, walk.checkpoints, tuple(findings.values()))


def _outside(file: Path, note: Note) -> list[PlacedCheckpoint]:
    try:
        return [(str(file), row) for row in read_checkpoints(file)]
    except RecordError as error:
        note("checkpoint", str(error))
        return []


def _check_triggers(connection: Connection, note: Note) -> None:
    """Compare the triggers that keep events and verdicts with those of a new record."""
    expected = _expected_triggers()
    found = _triggers(connection)
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            note("trigger", f"the trigger {name} is missing or off")
        elif name not in expected:
            note("trigger", f"the trigger {name} is none of flawmap's")
        elif connection.dialect.name == "sqlite" and found[name] != expected[name]:
            note("trigger", f"the trigger {name} is not as flawmap made it")


@cache
def _expected_triggers() -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        fresh = Database.in_folder(Path(folder))
        fresh.prepare()
        with fresh.read() as connection:
            triggers = _triggers(connection)
        fresh.close()
    return triggers


def _triggers(connection: Connection) -> dict[str, str]:
    if connection.dialect.name == "sqlite":
        statement = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
    else:
        statement = (
            "SELECT tgname, pg_get_triggerdef(pg_trigger.oid) FROM pg_trigger "
            "JOIN pg_class ON pg_class.oid = tgrelid "
            "WHERE NOT tgisinternal AND tgenabled IN ('O', 'A') "
            "AND relnamespace = current_schema()::regnamespace"
        )
    return {row[0]: row[1] for row in connection.execute(text(statement))}


def _check_files(connection: Connection, database: Database, files: FileStore, note: Note) -> int:
    """Read each file that the record names and that was not deleted."""
    there = StoredFile.deleted_at.is_(None)
    total = connection.scalar(select(func.count()).select_from(StoredFile).where(there)) or 0
    statement = select(StoredFile.sha256, StoredFile.category).where(there)
    rows = connection.execute(
        statement.order_by(StoredFile.sha256).execution_options(yield_per=_ROWS_AT_ONCE)
    )
    for row in track(rows, "files", total):
        try:
            files.read(row.sha256, row.category)
        except RecordError as error:
            if not _is_deleted(database, row.sha256):
                note("file", str(error))
    return total


def _is_deleted(database: Database, sha256: str) -> bool:
    """Whether retention deleted a file after this began."""
    statement = select(StoredFile.deleted_at).where(StoredFile.sha256 == sha256)
    with database.read() as connection:
        return connection.scalar(statement) is not None


def _check_inspectors(connection: Connection, folder: Path, note: Note) -> None:
    statement = select(StoredInspector.model_sha256, StoredInspector.file_sha256).distinct()
    for row in connection.execute(statement.order_by(StoredInspector.model_sha256)):
        file = folder / f"{row.model_sha256}.flawmap"
        try:
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            note("inspector file", f"{file}: {error.strerror}")
            continue
        if digest != row.file_sha256:
            note("inspector file", f"{file}: has other bytes than were imported")
