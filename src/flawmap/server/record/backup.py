"""Copies a record to another folder while a station runs, and makes a data folder of such a copy.

A copy is laid out as a data folder is, so that all that reads a record reads it too.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from flawmap.errors import RecordError
from flawmap.server.record.database import SQLITE_FILE, Database
from flawmap.server.record.files import Category
from flawmap.server.record.layout import INSPECTORS, DataFolder, check_empty
from flawmap.server.record.reader import RecordReader
from flawmap.server.record.tables import StoredFile
from flawmap.server.record.verify import Report, verify
from flawmap.server.record.writer import RecordWriter
from flawmap.support.atomic import atomic_folder, atomic_write
from flawmap.support.progress import track

_ROWS_AT_ONCE = 1000


@dataclass(frozen=True)
class Backup:
    """What was copied.

    Args:
        folder: of the copy.
        events: number of the last event in it.
        head: hash of that event; empty without events.
        files: images, overlays and inspectors.
        problems: what could not be copied, a sentence each.
    """

    folder: str
    events: int
    head: str
    files: int
    problems: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON's types."""
        return asdict(self) | {"problems": list(self.problems)}


def make_backup(database: Database, data: DataFolder, folder: Path, actor: str) -> Backup:
    """Copy a record as it is at one moment; a station may run meanwhile.

    Args:
        database: of the record, in SQLite.
        data: the data folder.
        folder: for the copy; missing or empty.
        actor: who does it.

    Returns:
        What was copied. A file that is missing or damaged does not keep the rest from being copied.

    Raises:
        RecordError: the database is none of SQLite's, or cannot be read.
        WriteError: the folder is not empty, or cannot be written.
    """
    if not database.is_sqlite or not database.url.database:
        raise RecordError(
            f"{database.name}: only a database of SQLite is copied; use pg_dump, and copy the "
            "data folder after it"
        )
    check_empty(folder)
    with atomic_folder(folder) as temporary:
        copy = DataFolder(temporary)
        # The checkpoints first, so that there is none of an event that the copy lacks.
        _copy_checkpoints(data, copy)
        _copy_database(Path(database.url.database), temporary / SQLITE_FILE)
        files, problems = _copy_files(data, copy)
        events, head = _head(temporary)
    backup = Backup(str(folder.absolute()), events, head, files, tuple(problems))
    noted = backup.to_dict() | {"problems": len(problems)}
    with RecordWriter(database) as writer:
        writer.run(lambda transaction: transaction.append("backup.made", "record", actor, noted))
    return backup


def restore_backup(backup: Path, folder: Path, actor: str) -> Report:
    """Make a data folder of a copy, and compare the record in it with itself.

    Args:
        backup: folder that `make_backup` made.
        folder: the new data folder; missing or empty.
        actor: who does it.

    Returns:
        How the restored record compares, before the event of the restoring was added to it.

    Raises:
        RecordError: that is no backup, or it is of a newer flawmap.
        WriteError: the folder is not empty, or cannot be written.
    """
    source = DataFolder(backup)
    if not (backup / SQLITE_FILE).is_file():
        raise RecordError(f"{backup}: there is no {SQLITE_FILE}; name a folder with a backup")
    check_empty(folder)
    with atomic_folder(folder) as temporary:
        data = DataFolder(temporary)
        _copy_checkpoints(source, data)
        _copy_database(backup / SQLITE_FILE, temporary / SQLITE_FILE)
        _copy_files(source, data)
        with closing(Database.in_folder(temporary)) as database:
            database.prepare()
            report = verify(database, data.files, data.checkpoints, inspectors=data.inspectors)
            noted = {
                "folder": str(backup.absolute()),
                "events": report.events,
                "head": report.head,
                "findings": [finding.text for finding in report.findings],
            }
            with RecordWriter(database) as writer:
                writer.run(lambda t: t.append("backup.restored", "record", actor, noted))
    return report


def _copy_database(source: Path, target: Path) -> None:
    """Copy by SQLite itself, which gives the state of one moment, whatever is written meanwhile."""
    try:
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as old,
            closing(sqlite3.connect(target)) as new,
        ):
            old.backup(new)
    except sqlite3.Error as error:
        raise RecordError(f"{source}: {error}") from error


def _copy_checkpoints(source: DataFolder, target: DataFolder) -> None:
    if source.checkpoints.is_file():
        with atomic_write(target.checkpoints) as stream:
            stream.write(source.checkpoints.read_bytes())


def _copy_files(source: DataFolder, target: DataFolder) -> tuple[int, list[str]]:
    """Copy the files that the copied database names; gives their number and what went wrong."""
    problems = []
    count = 0
    with closing(Database.in_folder(target.folder)) as database:
        for sha256, category in _stored_files(database):
            try:
                target.files.store(source.files.read(sha256, category), category)
                count += 1
            except RecordError as error:
                problems.append(str(error))
        inspectors = {row["model_sha256"] for row in RecordReader(database).inspectors()}
    for model_sha256 in sorted(inspectors):
        name = f"{model_sha256}.flawmap"
        try:
            _copy(source.inspectors / name, target.folder / INSPECTORS / name)
            count += 1
        except OSError as error:
            problems.append(f"{source.inspectors / name}: {error.strerror}")
    return count, problems


def _stored_files(database: Database) -> Iterator[tuple[str, Category]]:
    there = StoredFile.deleted_at.is_(None)
    with database.read() as connection:
        total = connection.scalar(select(func.count()).select_from(StoredFile).where(there)) or 0
        statement = select(StoredFile.sha256, StoredFile.category).where(there)
        rows = connection.execute(statement.execution_options(yield_per=_ROWS_AT_ONCE))
        for row in track(rows, "files", total):
            yield row.sha256, row.category


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as old, atomic_write(target) as new:
        shutil.copyfileobj(old, new)


def _head(folder: Path) -> tuple[int, str]:
    with closing(Database.in_folder(folder)) as database:
        return RecordReader(database).head()
