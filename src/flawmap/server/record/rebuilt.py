"""The tables as the events alone make them, to compare the database with.

They lie in a temporary file of SQLite's own, so that a record of any length can be compared.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from sqlalchemy import Connection, Table, select

from flawmap.server.record.projections import PROJECTIONS, SECRET_COLUMNS, Projection
from flawmap.server.record.statements import table_of
from flawmap.server.record.tables import Base, Inspection, Tally

Note = Callable[[str, str], None]
"""Called with the kind of a bad thing, and a sentence on it."""

REPLAY = "replay"
"""Kind of what is wrong with an event by itself, such as a change of a row that is not there."""

_ROWS_AT_ONCE = 1000
_SHOWN = 60
"""Characters of a value in a sentence."""

_INSPECTION = Inspection.__tablename__


class RebuiltTables:
    """What the tables must hold, by the events that are applied.

    Args:
        note: told of what is wrong.

    Example::

        with RebuiltTables(note) as tables:
            tables.apply("logon.ok", {"seq": 1, …}, {})
            tables.compare(connection)
    """

    def __init__(self, note: Note) -> None:
        self._note = note
        self._tally: Counter[tuple[str, str]] = Counter()
        # The empty name is a file of SQLite's own, which holds in memory what is small.
        self._scratch = sqlite3.connect("", isolation_level=None)
        self._scratch.execute("PRAGMA synchronous=OFF")
        self._scratch.execute(
            "CREATE TABLE made (name TEXT, key TEXT, made TEXT, PRIMARY KEY (name, key)) "
            "WITHOUT ROWID"
        )
        self._scratch.execute("BEGIN")

    def __enter__(self) -> RebuiltTables:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._scratch.close()

    def apply(self, kind: str, stamps: Mapping[str, Any], data: Mapping[str, Any]) -> None:
        """Write the rows that an event makes.

        Args:
            kind: of the event.
            stamps: its `seq`, `at`, `subject` and `actor`.
            data: of the event.
        """
        event = f"event {stamps['seq']} ({kind})"
        if kind not in PROJECTIONS:
            self._note(REPLAY, f"{event}: there is no such kind of event")
            return
        for projection in PROJECTIONS[kind]:
            try:
                row = projection.row(stamps, data)
            except KeyError as error:
                self._note(REPLAY, f"{event}: lacks {error} for its row")
                return
            if row is not None:
                self._write(event, projection, row)
        if kind.startswith("inspection."):
            self._count(kind, str(stamps["subject"]))

    def compare(self, connection: Connection) -> int:
        """Compare all rows of the database with what the events make, but for secrets.

        Args:
            connection: to the database.

        Returns:
            Number of the database's rows.
        """
        models = dict.fromkeys(
            projection.table for projections in PROJECTIONS.values() for projection in projections
        )
        rows = sum(self._compare_table(connection, model) for model in models)
        for name, key in self._scratch.execute("SELECT name, key FROM made ORDER BY name, key"):
            self._note(name, f"{_title(name, key)}: is missing, though an event made it")
        return rows + self._compare_tally(connection)

    def _write(self, event: str, projection: Projection, row: Mapping[str, Any]) -> None:
        table = table_of(projection.table)
        key = _key(table, row)
        old = self._get(table.name, key)
        title = _title(table.name, key)
        if projection.change == "update" and old is None:
            self._note(REPLAY, f"{event}: changes {title}, which no event made")
            return
        if projection.change == "insert" and old is not None:
            self._note(REPLAY, f"{event}: makes {title}, which an event before it made")
        if table.name == _INSPECTION and old is not None and old["state"] != "waiting":
            self._note(REPLAY, f"{event}: changes the verdict of {title}")
        made = json.dumps((old or {}) | dict(row))
        self._scratch.execute(
            "INSERT OR REPLACE INTO made VALUES (?, ?, ?)", (table.name, key, made)
        )

    def _get(self, name: str, key: str) -> dict[str, Any] | None:
        found = self._scratch.execute(
            "SELECT made FROM made WHERE name = ? AND key = ?", (name, key)
        ).fetchone()
        return json.loads(found[0]) if found else None

    def _count(self, kind: str, inspection_id: str) -> None:
        row = self._get(_INSPECTION, json.dumps([inspection_id]))
        if row is not None and row["purpose"] == "production":
            state = "received" if kind == "inspection.received" else row["state"]
            self._tally[str(row["product"]), str(state)] += 1

    def _compare_table(self, connection: Connection, model: type[Base]) -> int:
        table = table_of(model)
        statement = select(table).order_by(*table.primary_key)
        rows = connection.execute(statement.execution_options(yield_per=_ROWS_AT_ONCE))
        count = 0
        try:
            for row in rows.mappings():
                self._compare_row(model, dict(row))
                count += 1
        except ValueError:
            self._note(table.name, f"{table.name}: holds what is no JSON, and cannot be read")
            self._scratch.execute("DELETE FROM made WHERE name = ?", (table.name,))
        return count

    def _compare_row(self, model: type[Base], row: Mapping[str, Any]) -> None:
        table = table_of(model)
        key = _key(table, row)
        title = _title(table.name, key)
        expected = self._get(table.name, key)
        if expected is None:
            self._note(table.name, f"{title}: no event made it")
            return
        self._scratch.execute("DELETE FROM made WHERE name = ? AND key = ?", (table.name, key))
        for column in sorted(row.keys() - SECRET_COLUMNS.get(model, frozenset())):
            value, by_events = row[column], expected.get(column)
            if value != by_events:
                self._note(
                    table.name,
                    f"{title}: {column} is {_shown(value)}, and {_shown(by_events)} by the events",
                )

    def _compare_tally(self, connection: Connection) -> int:
        found = connection.execute(select(Tally.product, Tally.state, Tally.count))
        counts = {(product, state): count for product, state, count in found}
        for product, state in sorted(counts.keys() | self._tally.keys()):
            count, expected = counts.get((product, state), 0), self._tally[product, state]
            if count != expected:
                self._note(
                    "tally", f"{product}: {count} parts are {state}, and {expected} by the events"
                )
        return len(counts)


def _key(table: Table, row: Mapping[str, Any]) -> str:
    return json.dumps([row[column.name] for column in table.primary_key])


def _title(name: str, key: str) -> str:
    return f"{name} {' '.join(map(str, json.loads(key)))}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
