from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from threading import Event as Gate

import pytest
from sqlalchemy import text

from flawmap.errors import RecordError
from flawmap.server.record.chain import FIRST_PREV, event_hash
from flawmap.server.record.database import Database
from flawmap.server.record.inspections import Received, judge, receive
from flawmap.server.record.reader import RecordReader
from flawmap.server.record.writer import RecordWriter, Transaction
from server.postgres import PostgresServer
from server.record_data import activate, arrival, judgement


@pytest.fixture
def writer(database: Database) -> Iterator[RecordWriter]:
    with RecordWriter(database) as writer:
        writer.run(activate)
        yield writer


def receiving(number: int) -> Callable[[Transaction], Received]:
    return lambda transaction: receive(transaction, arrival(number), "here", "local")


def received(writer: RecordWriter, number: int = 0) -> str:
    return writer.run(receiving(number)).id


def test_each_event_holds_the_hash_of_the_one_before(
    writer: RecordWriter, database: Database
) -> None:
    for number in range(5):
        received(writer, number)
    with database.read() as connection:
        rows = connection.execute(
            text("SELECT seq, body, prev, hash FROM event ORDER BY seq")
        ).all()
    assert [row.seq for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert [row.prev for row in rows] == [FIRST_PREV, *(row.hash for row in rows[:-1])]
    assert [event_hash(row.body) for row in rows] == [row.hash for row in rows]
    assert json.loads(rows[-1].body)["data"]["product"] == "sink"


def test_writes_that_wait_share_a_commit_and_fail_alone(writer: RecordWriter) -> None:
    gate = Gate()

    def wait(_: Transaction) -> None:
        gate.wait(5)

    def fail(transaction: Transaction) -> None:
        transaction.append("logon.failed", "nobody", "station", {})
        raise ValueError("this one alone")

    writer.submit(wait)
    good = [writer.submit(receiving(number)) for number in (1, 2)]
    bad = writer.submit(fail)
    last = writer.submit(receiving(3))
    gate.set()
    with pytest.raises(ValueError, match="alone"):
        bad.result(5)
    assert [future.result(5).seq for future in (*good, last)] == [3, 4, 5]


def test_a_verdict_never_changes(writer: RecordWriter, database: Database) -> None:
    part = received(writer)
    writer.run(lambda t: judge(t, part, judgement(state="good")))
    with pytest.raises(RecordError, match="a verdict never changes"):
        writer.run(lambda t: judge(t, part, judgement(state="reject")))
    row = RecordReader(database).inspection(part)
    assert row is not None
    assert row["state"] == "good"


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE event SET actor = 'x'", "append only"),
        ("DELETE FROM event", "append only"),
        ("UPDATE event SET hash = ''", "append only"),
        ("DELETE FROM inspection", "never deleted"),
    ],
)
def test_the_database_itself_refuses_to_forget(
    writer: RecordWriter, database: Database, statement: str, message: str
) -> None:
    received(writer)
    with pytest.raises(RecordError, match=message), database.write() as connection:
        connection.execute(text(statement))


def test_a_clock_that_goes_back_gives_no_earlier_times(database: Database) -> None:
    now = datetime(2026, 1, 31, 12, tzinfo=UTC)
    moments = iter([now, now - timedelta(hours=1), now + timedelta(seconds=1)])
    with RecordWriter(database, lambda: next(moments)) as writer:
        for _ in range(3):
            writer.run(lambda t: t.append("logon.failed", "a", "station", {}))
    times = [event["at"] for event in RecordReader(database).events()]
    assert times == ["2026-01-31T12:00:00.000Z"] * 2 + ["2026-01-31T12:00:01.000Z"]


def test_unknown_events_and_rows_are_refused(writer: RecordWriter) -> None:
    with pytest.raises(RecordError, match="no kind of event"):
        writer.run(lambda t: t.append("inspection.forgotten", "a", "local", {}))
    with pytest.raises(RecordError, match="there is no inspection 'nobody'"):
        writer.run(lambda t: judge(t, "nobody", judgement()))
    with pytest.raises(RecordError, match="lacks 'verdict'"):
        writer.run(lambda t: t.append("decision.made", "a", "local", {"reason": "x"}))


def test_two_writers_keep_one_chain(writer: RecordWriter, database: Database) -> None:
    """A command such as `flawmap station user add` writes beside the station."""
    with RecordWriter(database) as other:
        parts = [each.submit(receiving(number)) for number, each in enumerate([writer, other] * 20)]
        seqs = sorted(part.result(10).seq for part in parts)
    assert seqs == list(range(3, 43))


def test_a_restart_of_postgresql_loses_nothing(postgres: PostgresServer) -> None:
    database = Database(postgres.url("restarted"))
    database.prepare()
    reader = RecordReader(database)
    with RecordWriter(database) as writer:
        writer.run(activate)
        before = [received(writer, number) for number in range(5)]
        postgres.stop()
        with pytest.raises(RecordError, match=r"127\.0\.0\.1"):
            received(writer, 5)
        postgres.start()
        after = received(writer, 6)
    found = [event["subject"] for event in reader.events() if "received" in event["kind"]]
    assert found == [*before, after]
    assert reader.counts()[0].received == 6
    database.close()
