"""Reads the record: searches, sums, and what is in force."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ScalarSelect, Select, desc, func, select, text

from flawmap.server.record.database import Database
from flawmap.server.record.tables import (
    Activation,
    Base,
    Checkpoint,
    Decision,
    Event,
    Inspection,
    ProposedThreshold,
    Setting,
    StoredFile,
    StoredInspector,
    Tally,
)

_WAITING = text("inspection.state = 'waiting'")
"""Written out: a parameter would hide from the database that an index is of these rows alone."""

_NO_END = 2**62
"""Larger than the number of any event."""

Row = dict[str, Any]
"""A row of a table, by the names of its columns, of JSON's types."""


@dataclass(frozen=True)
class Query:
    """Which inspections are asked for; what is None or empty does not matter.

    Args:
        product: name of the product.
        serial: of the part, exactly.
        lot: of the part, exactly.
        state: `waiting`, `good`, `reject`, `undecided` or `skipped`.
        since: received at this UTC text or later.
        until: received before this UTC text.
        cursor: from `Page.next_cursor`.
        limit: most inspections, 1…500.
    """

    product: str = ""
    serial: str = ""
    lot: str = ""
    state: str = ""
    since: str = ""
    until: str = ""
    cursor: int | None = None
    limit: int = 50


class Page(NamedTuple):
    """Some of the inspections that were asked for, the newest first.

    Args:
        items: a row each.
        next_cursor: for the next page; None where this is the last.
    """

    items: list[Row]
    next_cursor: int | None


@dataclass(frozen=True)
class Counts:
    """The production parts of a product.

    Args:
        product: its name.
        received: parts that came, counted when they came.
        good: counted when they were judged, as are the next three.
        reject: likewise.
        undecided: likewise.
        skipped: likewise.
        waiting: parts without a verdict, counted now.

    Example:
        >>> Counts("sink", 10, good=7, reject=1, undecided=0, skipped=0, waiting=2).reconciles
        True
    """

    product: str
    received: int
    good: int
    reject: int
    undecided: int
    skipped: int
    waiting: int

    @property
    def reconciles(self) -> bool:
        """Whether what came is what became of it: received equals the sum of the others."""
        return self.received == (
            self.good + self.reject + self.undecided + self.skipped + self.waiting
        )


class RecordReader:
    """Reads the record, from any number of threads.

    Args:
        database: where it is.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def inspection(self, inspection_id: str) -> Row | None:
        """All that is stored of a part; None where there is no such one.

        Args:
            inspection_id: of the part.
        """
        rows = self._rows(select(Inspection.__table__).where(Inspection.id == inspection_id))
        return rows[0] if rows else None

    def search(self, query: Query) -> Page:
        """Inspections, the newest first.

        Args:
            query: which.
        """
        limit = min(max(query.limit, 1), 500)
        statement = select(Inspection.__table__).order_by(desc(Inspection.received_seq))
        for column, value in (
            (Inspection.product, query.product),
            (Inspection.serial, query.serial),
            (Inspection.lot, query.lot),
            (Inspection.state, query.state),
        ):
            if value:
                statement = statement.where(column == value)
        if query.since:
            statement = statement.where(Inspection.received_seq >= _first_since(query.since))
        if query.until:
            end = func.coalesce(_first_since(query.until), _NO_END)
            statement = statement.where(Inspection.received_seq < end)
        if query.cursor is not None:
            statement = statement.where(Inspection.received_seq < query.cursor)
        rows = self._rows(statement.limit(limit + 1))
        more = len(rows) > limit
        items = rows[:limit]
        return Page(items, items[-1]["received_seq"] if more else None)

    def decisions(self, inspection_id: str) -> list[Row]:
        """What people said of a part, in order.

        Args:
            inspection_id: of the part.
        """
        table = Decision.__table__
        return self._rows(
            select(table).where(Decision.inspection_id == inspection_id).order_by(Decision.seq)
        )

    def counts(self) -> list[Counts]:
        """The sums of each product, of one moment."""
        states = ("received", "good", "reject", "undecided", "skipped")
        # In order of arrival, so that the index of those that wait serves, and not a larger one.
        waiting_parts = (
            select(Inspection.product)
            .where(_WAITING, Inspection.purpose == "production")
            .order_by(Inspection.received_seq)
        )
        with self.database.read() as connection:
            tally = connection.execute(select(Tally.product, Tally.state, Tally.count)).all()
            waiting = Counter(connection.scalars(waiting_parts))
        sums: dict[str, dict[str, int]] = {}
        for product, state, count in tally:
            sums.setdefault(product, dict.fromkeys(states, 0))[state] = count
        return [
            Counts(product=product, waiting=waiting[product], **by_state)
            for product, by_state in sorted(sums.items())
        ]

    def waiting(self, limit: int | None = None) -> list[Row]:
        """Parts without a verdict, the oldest first.

        Args:
            limit: most of them; None for all.
        """
        table = Inspection.__table__
        return self._rows(
            select(table).where(_WAITING).order_by(Inspection.received_seq).limit(limit)
        )

    def events(self, after: int = 0, limit: int = 500) -> list[Row]:
        """Events in order, with their data.

        Args:
            after: number of the event before the first.
            limit: most of them.
        """
        rows = self._rows(
            select(Event.__table__).where(Event.seq > after).order_by(Event.seq).limit(limit)
        )
        for row in rows:
            row["data"] = json.loads(row.pop("body"))["data"]
        return rows

    def head(self) -> tuple[int, str]:
        """Number and hash of the last event; 0 and no hash where there is none."""
        statement = select(Event.seq, Event.hash).order_by(desc(Event.seq)).limit(1)
        with self.database.read() as connection:
            row = connection.execute(statement).first()
        return (row.seq, row.hash) if row else (0, "")

    def activations(self, product: str = "") -> list[Row]:
        """What judged a product's parts, and from when on, the newest first.

        Args:
            product: its name; empty for all.
        """
        return self._of_product(Activation, product, desc(Activation.number))

    def in_force(self) -> dict[str, Row]:
        """The activation in force of each product."""
        rows: dict[str, Row] = {}
        for row in self.activations():
            rows.setdefault(row["product"], row)
        return dict(sorted(rows.items()))

    def inspectors(self, product: str = "") -> list[Row]:
        """The inspectors that were imported, the newest first.

        Args:
            product: its name; empty for all.
        """
        return self._of_product(StoredInspector, product, desc(StoredInspector.imported_at))

    def thresholds(self, product: str = "") -> list[Row]:
        """The thresholds that were proposed, the newest first.

        Args:
            product: its name; empty for all.
        """
        return self._of_product(ProposedThreshold, product, desc(ProposedThreshold.number))

    def setting(self, name: str, default: Any = None) -> Any:
        """The value of a rule.

        Args:
            name: of the rule.
            default: where it was never set.
        """
        rows = self._rows(select(Setting.__table__).where(Setting.name == name))
        return rows[0]["value"] if rows else default

    def stored_file(self, sha256: str) -> Row | None:
        """What is known of an image or overlay; None where it was never stored.

        Args:
            sha256: of its bytes.
        """
        rows = self._rows(select(StoredFile.__table__).where(StoredFile.sha256 == sha256))
        return rows[0] if rows else None

    def checkpoints(self) -> list[Row]:
        """The checkpoints in the database, in order."""
        return self._rows(select(Checkpoint.__table__).order_by(Checkpoint.seq))

    def stored_bytes(self) -> int:
        """Bytes of all images and overlays that are there."""
        statement = select(func.coalesce(func.sum(StoredFile.size), 0)).where(
            StoredFile.deleted_at.is_(None)
        )
        with self.database.read() as connection:
            return int(connection.scalar(statement) or 0)

    def _of_product(self, model: type[Base], product: str, order: Any) -> list[Row]:
        table = model.__table__
        statement = select(table).order_by(order)
        if product:
            statement = statement.where(table.c.product == product)
        return self._rows(statement)

    def _rows(self, statement: Select[Any]) -> list[Row]:
        with self.database.read() as connection:
            found: Sequence[Any] = connection.execute(statement).mappings().all()
        return [dict(row) for row in found]


def _first_since(moment: str) -> ScalarSelect[int]:
    """Number of the first part that came at a time or later: times never go back, so all follow."""
    first = Inspection.__table__.alias()
    return (
        select(first.c.received_seq)
        .where(first.c.received_at >= moment)
        .order_by(first.c.received_at, first.c.received_seq)
        .limit(1)
        .scalar_subquery()
    )
