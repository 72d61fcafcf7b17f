"""Checkpoints: the chain's head, kept outside the database too.

A chain shows each change within it, but not that its end was cut off or written anew. Lines that
are kept elsewhere do.
"""

from __future__ import annotations

import json
from pathlib import Path

from sqlalchemy import desc, insert, select

from flawmap.errors import RecordError, WriteError
from flawmap.server.record.database import Database
from flawmap.server.record.reader import Row
from flawmap.server.record.tables import Checkpoint, Event
from flawmap.server.record.writer import RecordWriter, Transaction
from flawmap.support.atomic import append_line

CHECKPOINTS = "checkpoints.jsonl"
"""Name of the file in a data folder, where no other place is named."""


def write_checkpoint(writer: RecordWriter, file: Path) -> Row | None:
    """Write the chain's head to the database, and then as a line of a file.

    What an earlier call could not write to the file is written to it too.

    Args:
        writer: of the record.
        file: best on another disk, or on a share that this machine can only append to.

    Returns:
        `seq`, `hash` and `at`; None where nothing happened since the last one.

    Raises:
        RecordError: the database refuses, or a line of the file is no checkpoint.
        WriteError: the file cannot be written.
    """

    def work(transaction: Transaction) -> Row | None:
        connection = transaction.connection
        head = connection.execute(
            select(Event.seq, Event.hash, Event.at).order_by(desc(Event.seq)).limit(1)
        ).first()
        if head is None or connection.scalar(
            select(Checkpoint.seq).where(Checkpoint.seq == head.seq)
        ):
            return None
        row = {"seq": head.seq, "hash": head.hash, "at": head.at}
        connection.execute(insert(Checkpoint), row)
        return row

    row = writer.run(work)
    lines = read_checkpoints(file) if file.exists() else []
    missing = _checkpoints_after(writer.database, lines[-1]["seq"] if lines else 0)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"{file}: could not be written ({error.strerror})") from error
    for line in missing:
        append_line(file, json.dumps(line, sort_keys=True).encode() + b"\n", flush=True)
    return row


def _checkpoints_after(database: Database, seq: int) -> list[Row]:
    statement = select(Checkpoint.__table__).where(Checkpoint.seq > seq).order_by(Checkpoint.seq)
    with database.read() as connection:
        return [dict(row) for row in connection.execute(statement).mappings()]


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
