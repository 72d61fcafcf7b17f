"""Writes events and the rows that they make, in one transaction on the disk."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, Table
from sqlalchemy.exc import SQLAlchemyError

from flawmap.errors import RecordError
from flawmap.server.record.chain import FIRST_PREV, event_body, event_hash
from flawmap.server.record.database import Database
from flawmap.server.record.projections import PROJECTIONS, Projection
from flawmap.server.record.statements import (
    HEAD,
    INSERT_EVENT,
    KEY,
    PRODUCT_OF,
    count_one,
    insert_row,
    table_of,
    update_row,
    upsert_row,
)

_MOST_AT_ONCE = 64
"""Writes that share one commit, where as many wait: a commit takes as long for one as for all."""

_PRODUCTION = "production"

_Result = TypeVar("_Result")


class Written(NamedTuple):
    """An event that was appended.

    Args:
        seq: its number.
        at: when, as a UTC text.
        kind: what happened.
        subject: to what.
        hash: of its body.
    """

    seq: int
    at: str
    kind: str
    subject: str
    hash: str


class Transaction:
    """Events that are committed together.

    Args:
        connection: to the database, which this has alone until it is committed.
        clock: gives the time.

    Attributes:
        connection: to read in the same transaction.
        written: what has been appended.
    """

    def __init__(self, connection: Connection, clock: Callable[[], datetime]) -> None:
        self.connection = connection
        self.written: list[Written] = []
        self._clock = clock
        head = connection.execute(HEAD).first()
        self._seq: int = head.seq if head else 0
        self._prev: str = head.hash if head else FIRST_PREV
        self._at: str = head.at if head else ""

    def append(
        self,
        kind: str,
        subject: str,
        actor: str,
        data: Mapping[str, Any],
        secrets: Mapping[str, Any] | None = None,
    ) -> Written:
        """Append an event, and write the rows that it makes.

        Args:
            kind: one of `PROJECTIONS`.
            subject: what it happens to.
            actor: who does it.
            data: all else that is to be known of it, of JSON's types.
            secrets: columns of the row that must stand in no event, such as a password's hash.

        Raises:
            RecordError: there is no such kind, or the data are not complete.
        """
        if kind not in PROJECTIONS:
            raise RecordError(f"there is no kind of event {kind!r}")
        # Of two events the later one never has the earlier time, whatever the clock does.
        self._at = max(self._at, utc_text(self._clock()))
        seq = self._seq + 1
        body = event_body(seq, self._at, kind, subject, actor, self._prev, data)
        digest = event_hash(body)
        stamps = {"seq": seq, "at": self._at, "subject": subject, "actor": actor}
        event = {**stamps, "kind": kind, "body": body, "prev": self._prev, "hash": digest}
        self.connection.execute(INSERT_EVENT, event)
        self._seq, self._prev = seq, digest
        for projection in PROJECTIONS[kind]:
            self._project(projection, stamps, data, secrets or {})
        self._count(kind, subject, data)
        written = Written(seq, self._at, kind, subject, digest)
        self.written.append(written)
        return written

    def _project(
        self,
        projection: Projection,
        stamps: Mapping[str, Any],
        data: Mapping[str, Any],
        secrets: Mapping[str, Any],
    ) -> None:
        try:
            row = projection.row(stamps, data)
        except KeyError as error:
            raise RecordError(f"an event lacks {error} for its row") from error
        if row is None:
            return
        table = table_of(projection.table)
        row |= secrets
        if projection.change == "insert":
            self.connection.execute(insert_row(table), row)
        elif projection.change == "upsert":
            dialect = self.connection.dialect.name
            self.connection.execute(upsert_row(table, tuple(row), dialect), row)
        elif not self._update(table, row):
            raise RecordError(f"there is no {table.name} {stamps['subject']!r}")

    def _update(self, table: Table, row: dict[str, Any]) -> bool:
        """Change a row; whether there is one."""
        key = {KEY + column.name: row.pop(column.name) for column in table.primary_key}
        if not row:
            return True
        return self.connection.execute(update_row(table, tuple(row)), row | key).rowcount == 1

    def _count(self, kind: str, subject: str, data: Mapping[str, Any]) -> None:
        if kind == "inspection.received":
            product, purpose, state = data["product"], data["purpose"], "received"
        elif kind in ("inspection.judged", "inspection.skipped"):
            product, purpose = self.connection.execute(PRODUCT_OF, {"id": subject}).one()
            state = data.get("state", "skipped")
        else:
            return
        if purpose != _PRODUCTION:
            return
        row = {"product": product, "state": state, "count": 1}
        self.connection.execute(count_one(self.connection.dialect.name), row)


class _Job(NamedTuple):
    work: Callable[[Transaction], Any]
    future: Future[Any]


class _Outcome(NamedTuple):
    job: _Job
    result: Any = None
    written: Sequence[Written] = ()
    error: Exception | None = None


class RecordWriter:
    """Writes to the record, from any number of threads; writes that wait share a commit.

    Args:
        database: where; `Database.prepare` has made its tables.
        clock: gives the time; another one in tests.

    Example::

        with RecordWriter(database) as writer:
            writer.run(lambda transaction: transaction.append("station.started", …))
    """

    def __init__(
        self, database: Database, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.database = database
        self._clock = clock
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closing = threading.Lock()
        self._is_closed = False
        self._observers: list[Callable[[Written], None]] = []
        self._thread = threading.Thread(target=self._write_all, name="record-writer", daemon=True)
        self._thread.start()

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def on_written(self, observer: Callable[[Written], None]) -> None:
        """Have a function called with each event, in order, after its commit.

        Args:
            observer: called in the writer's thread; it must be quick and must not raise.
        """
        self._observers.append(observer)

    def submit(self, work: Callable[[Transaction], _Result]) -> Future[_Result]:
        """Have something written, soon.

        Args:
            work: appends events to the transaction that it is given. It may be undone alone.

        Returns:
            What `work` returned, when it is on the disk; or what it raised, or `RecordError` where
            the database refused. Then nothing of it is in the record.
        """
        future: Future[_Result] = Future()
        with self._closing:
            if self._is_closed:
                future.set_exception(RecordError("the record is closed; start the station again"))
            else:
                self._jobs.put(_Job(work, future))
        return future

    def run(self, work: Callable[[Transaction], _Result]) -> _Result:
        """Write something, and wait until it is on the disk; see `submit`."""
        return self.submit(work).result()

    def close(self) -> None:
        """Write what waits, and end; what is submitted after that is refused."""
        with self._closing:
            if not self._is_closed:
                self._jobs.put(None)
            self._is_closed = True
        self._thread.join()

    def _write_all(self) -> None:
        while (job := self._jobs.get()) is not None:
            jobs = [job]
            while len(jobs) < _MOST_AT_ONCE and not self._jobs.empty():
                more = self._jobs.get()
                if more is None:
                    self._jobs.put(None)
                    break
                jobs.append(more)
            self._write_together(jobs)

    def _write_together(self, jobs: list[_Job]) -> None:
        try:
            with self.database.write() as connection:
                outcomes = [self._attempt(job, connection) for job in jobs]
        except RecordError as failure:
            outcomes = [_Outcome(job, error=failure) for job in jobs]
        for outcome in outcomes:
            for event in outcome.written:
                for observer in self._observers:
                    observer(event)
        for outcome in outcomes:
            if outcome.error is None:
                outcome.job.future.set_result(outcome.result)
            else:
                outcome.job.future.set_exception(outcome.error)

    def _attempt(self, job: _Job, connection: Connection) -> _Outcome:
        """Do one job; what fails is undone alone."""
        try:
            with connection.begin_nested():
                transaction = Transaction(connection, self._clock)
                result = job.work(transaction)
        except SQLAlchemyError as error:
            return _Outcome(job, error=self.database.named(error))
        except Exception as error:
            return _Outcome(job, error=error)
        return _Outcome(job, result, transaction.written)


def utc_text(moment: datetime) -> str:
    """A time as the record writes it.

    Example:
        >>> utc_text(datetime(2026, 1, 31, 12, tzinfo=UTC))
        '2026-01-31T12:00:00.000Z'
    """
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
