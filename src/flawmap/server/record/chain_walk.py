"""The chain from its first event to its last, compared with itself and with checkpoints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, func, select

from flawmap.server.record.chain import FIRST_PREV, event_hash
from flawmap.server.record.rebuilt import Note
from flawmap.server.record.tables import Checkpoint, Event
from flawmap.support.progress import report_progress

PlacedCheckpoint = tuple[str, dict[str, Any]]
"""A checkpoint, and before it where it is kept."""

_EVENTS_AT_ONCE = 1000
_INSIDE = "the database"
_STAMPS = ("seq", "at", "subject", "actor")


class ChainWalk:
    """Goes through the events in order, and compares each with the one before.

    Args:
        connection: to the database.
        note: told of what is wrong.
        outside: checkpoints that are kept outside the database.

    Attributes:
        count: events so far.
        seq: of the last one.
        prev: its hash, of the stored text.
        checkpoints: how many there are.
    """

    def __init__(self, connection: Connection, note: Note, outside: list[PlacedCheckpoint]) -> None:
        self._connection = connection
        self._note = note
        self.count, self.seq, self.prev, self._at = 0, 0, FIRST_PREV, ""
        rows = connection.execute(select(Checkpoint.__table__)).mappings()
        both = [(_INSIDE, dict(row)) for row in rows] + outside
        self.checkpoints = len(both)
        self._at_seq: dict[int, list[PlacedCheckpoint]] = {}
        for place, row in sorted(both, key=lambda pair: pair[1]["seq"]):
            self._at_seq.setdefault(row["seq"], []).append((place, row))

    def events(self) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
        """Kind, stamps and data of each event whose body can be read."""
        total = self._connection.scalar(select(func.count()).select_from(Event)) or 0
        last: int | None = None
        while True:
            statement = select(Event.__table__).order_by(Event.seq).limit(_EVENTS_AT_ONCE)
            if last is not None:
                statement = statement.where(Event.seq > last)
            rows = self._connection.execute(statement).mappings().all()
            if not rows:
                return
            for row in rows:
                body = self._check({name: _as_read(value) for name, value in row.items()})
                if body is not None:
                    yield body["kind"], {name: body[name] for name in _STAMPS}, body["data"]
            last = rows[-1]["seq"]
            report_progress("events", self.count, total)

    def check_end(self) -> None:
        """Look for checkpoints of events that the chain does not have."""
        for seq, expected in self._at_seq.items():
            self._note(
                "checkpoint",
                f"the checkpoint of event {seq} in {expected[0][0]}: there is no such event; the "
                f"chain ends with {self.seq}",
            )

    def _check(self, row: dict[str, Any]) -> dict[str, Any] | None:
        event = f"event {row['seq']}"
        digest = event_hash(row["body"])
        if row["seq"] != self.seq + 1:
            self._note("seq", f"{event}: comes after event {self.seq}")
        if row["prev"] != self.prev:
            self._note("prev", f"{event}: does not hold the hash of the event before it")
        if row["hash"] != digest:
            self._note("hash", f"{event}: its text has another hash than was stored")
        self._check_checkpoints(event, digest, row["at"], self._at_seq.pop(row["seq"], []))
        if row["at"] < self._at:
            self._note("time", f"{event}: is of {row['at']}, before the event before it")
        self.count, self.seq, self.prev, self._at = self.count + 1, row["seq"], digest, row["at"]
        return self._body(event, row)

    def _check_checkpoints(
        self, event: str, digest: str, at: str, expected: list[PlacedCheckpoint]
    ) -> None:
        for place, row in expected:
            if (row["hash"], row["at"]) != (digest, at):
                self._note("checkpoint", f"{event}: is not that of the checkpoint in {place}")
        if expected and expected[0][0] != _INSIDE:
            self._note(
                "checkpoint", f"{event}: has a checkpoint in {expected[0][0]}, not in {_INSIDE}"
            )

    def _body(self, event: str, row: dict[str, Any]) -> dict[str, Any] | None:
        """What the text says, which decides; None where that is no event."""
        try:
            body: dict[str, Any] = json.loads(row["body"])
            columns = {name: body[name] for name in ("kind", "prev", *_STAMPS)}
            body["data"].keys()
            hash((*columns.values(),))
        except (ValueError, TypeError, KeyError, AttributeError):
            self._note("columns", f"{event}: its text is not that of an event")
            return None
        for name, value in columns.items():
            if row[name] != value:
                self._note(
                    "columns", f"{event}: {name} is {row[name]!r}, and {value!r} in its text"
                )
        return body


def _as_read(value: Any) -> Any:
    """A value as text where it is bytes, which SQLite takes in any column."""
    return repr(value) if isinstance(value, bytes) else value
