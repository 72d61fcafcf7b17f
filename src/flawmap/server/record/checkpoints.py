"""Checkpoints: the chain's head, kept outside the database too.

A chain shows each change within it, but not that its end was cut off or written anew. Lines that
are kept elsewhere do.
"""

from __future__ import annotations

import json
from pathlib import Path

from sqlalchemy import insert, select

from flawmap.errors import RecordError, WriteError
from flawmap.server.record.database import Database
from flawmap.server.record.reader import Row
from flawmap.server.record.tables import Checkpoint, Event
from flawmap.server.record.writer import RecordWriter, Transaction
from flawmap.support.atomic import append_line

CHECKPOINTS = "checkpoints.jsonl"
"""Name of the file in a data folder, where no other place is named."""


def write_checkpoint(writer: RecordWriter, file: Path) -> Row | None:
    """Write the chain's head as a line of a file, and then to the database.

    In that order, since one that could not be written to the file must be tried again.

    Args:
        writer: of the record.
        file: best on another disk, or on a share that this machine can only append to.

    Returns:
        `seq`, `hash` and `at`; None where nothing happened since the last one.

    Raises:
        RecordError: the database refuses.
        WriteError: the file cannot be written.
    """
    # Committed alone: the line must name no event that its transaction may still lose.
    row = _head(writer.database)
    if row is None:
        return None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"{file}: could not be written ({error.strerror})") from error
    append_line(file, json.dumps(row, sort_keys=True).encode() + b"\n", flush=True)

    def work(transaction: Transaction) -> None:
        connection = transaction.connection
        if not connection.scalar(select(Checkpoint.seq).where(Checkpoint.seq == row["seq"])):
            connection.execute(insert(Checkpoint), row)

    writer.run(work)
    return row


def _head(database: Database) -> Row | None:
    """The last event, where there is no checkpoint of it."""
    with database.read() as connection:
        head = connection.execute(
            select(Event.seq, Event.hash, Event.at).order_by(Event.seq.desc()).limit(1)
        ).first()
        if head is None or connection.scalar(
            select(Checkpoint.seq).where(Checkpoint.seq == head.seq)
        ):
            return None
        return dict(head._mapping)


def read_checkpoints(file: Path) -> list[Row]:
    """The checkpoints in a file, in order.

    Args:
        file: that `write_checkpoint` wrote.

    Raises:
        RecordError: the file is missing, or a line is no checkpoint.
    """
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{file}: cannot be read ({error})") from error
    rows: list[Row] = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            rows.append({"seq": int(row["seq"]), "hash": str(row["hash"]), "at": str(row["at"])})
        except (ValueError, TypeError, KeyError) as error:
            raise RecordError(f"{file}: line {number} is no checkpoint") from error
    return rows
