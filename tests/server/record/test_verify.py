"""Each way to change a record behind the station's back is found, and named."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from filled_record import FilledRecord, fill
from flawmap.errors import RecordError
from flawmap.server.record.chain import event_body, event_hash
from flawmap.server.record.database import Database
from flawmap.server.record.verify import Report, verify
from flawmap.server.record.writer import RecordWriter
from server.postgres import PostgresServer

Data = dict[str, Any]
Tamper = Callable[[sqlite3.Connection], object]


def check(record: FilledRecord, *, outside: bool = False) -> Report:
    with closing(Database.in_folder(record.folder)) as database:
        return verify(database, record.files, record.checkpoints if outside else None)


def tamper(record: FilledRecord, *steps: str | Tamper) -> None:
    """Change the database as someone does who knows it: the triggers are there again after it."""
    file = record.folder / "record.sqlite"
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        triggers = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall()
        assert len(triggers) == 6
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        for step in steps:
            if isinstance(step, str):
                assert connection.execute(step).rowcount >= 1, f"changes nothing: {step}"
            else:
                step(connection)
        for _, sql in triggers:
            connection.execute(sql)


def found(report: Report) -> dict[str, str]:
    return {finding.kind: finding.text for finding in report.findings}


def rewrite(connection: sqlite3.Connection, first: int, change: Callable[[Data], None]) -> None:
    """Change an event, and make the chain fit again from there to its end."""
    rows = connection.execute("SELECT body FROM event WHERE seq >= ? ORDER BY seq", (first,))
    prev = None
    for number, (body,) in enumerate(rows.fetchall()):
        event = json.loads(body)
        if number == 0:
            change(event["data"])
        event["prev"] = prev or event["prev"]
        text = event_body(**event)
        prev = event_hash(text)
        connection.execute(
            "UPDATE event SET body = ?, prev = ?, hash = ? WHERE seq = ?",
            (text, event["prev"], prev, event["seq"]),
        )


def append_event(connection: sqlite3.Connection, kind: str, subject: str, data: Data) -> None:
    """Append an event that fits the chain, without the rows that it makes."""
    seq, prev, at = connection.execute(
        "SELECT seq, hash, at FROM event ORDER BY seq DESC LIMIT 1"
    ).fetchone()
    body = event_body(seq + 1, at, kind, subject, "eva", prev, data)
    connection.execute(
        "INSERT INTO event (seq, at, kind, subject, actor, body, prev, hash) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (seq + 1, at, kind, subject, "eva", body, prev, event_hash(body)),
    )


def test_a_record_that_nobody_changed_is_fine(record: FilledRecord) -> None:
    report = check(record, outside=True)
    assert report.findings == ()
    assert report.is_fine
    assert (report.events, report.files, report.checkpoints) == (16, 6, 2)
    assert report.rows == 6 + 5 + 1 + 4 + 5  # files, parts, decision, others, tallies
    assert len(report.head) == 64
    assert json.loads(json.dumps(report.to_dict()))["is_fine"] is True


def test_an_empty_record_is_fine(tmp_path: Path) -> None:
    with closing(Database.in_folder(tmp_path)) as database:
        database.prepare()
    report = check(FilledRecord(tmp_path, {}), outside=True)
    assert (report.events, report.head, report.findings) == (0, "", ())


def test_a_database_without_tables_cannot_be_verified(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no such table"):
        check(FilledRecord(tmp_path, {}))


@pytest.mark.parametrize(
    ("change", "kinds", "named"),
    [
        pytest.param(
            "UPDATE event SET body = replace(body, '\"score\":2.5', '\"score\":1.5')",
            {"hash", "prev", "inspection"},
            "event 12: its text has another hash",
            id="body of an event",
        ),
        pytest.param(
            "UPDATE event SET hash = replace(hash, substr(hash, 1, 1), 'x') WHERE seq = 7",
            {"hash"},
            "event 7: its text has another hash",
            id="hash of an event",
        ),
        pytest.param(
            "UPDATE event SET prev = hash WHERE seq = 7",
            {"prev", "columns"},
            "event 7: does not hold the hash",
            id="hash of the event before",
        ),
        pytest.param(
            "UPDATE event SET actor = 'bob' WHERE kind = 'decision.made'",
            {"columns"},
            "event 15: actor is 'bob', and 'eva' in its text",
            id="column of an event",
        ),
        pytest.param(
            "UPDATE event SET body = 'x' WHERE seq = 1",
            {"columns", "hash", "prev"},
            "event 1: its text is not that of an event",
            id="no event",
        ),
        pytest.param(
            "UPDATE event SET body = CAST(body AS BLOB), at = CAST('\xff' AS BLOB) WHERE seq = 1",
            {"columns", "hash", "prev", "time"},
            "event 1: its text is not that of an event",
            id="bytes",
        ),
        pytest.param(
            "DELETE FROM event WHERE seq = 15",
            {"seq", "prev", "decision", "checkpoint"},
            "event 16: comes after event 14",
            id="dropped event",
        ),
        pytest.param(
            "UPDATE inspection SET score = 1.5 WHERE state = 'reject'",
            {"inspection"},
            "score is 1.5, and 2.5 by the events",
            id="score of an inspection",
        ),
        pytest.param(
            "UPDATE inspection SET regions = '[]' WHERE state = 'reject'",
            {"inspection"},
            "regions is [], and [{'area': 4}] by the events",
            id="regions of an inspection",
        ),
        pytest.param(
            "UPDATE inspection SET regions = 'x' WHERE state = 'reject'",
            {"inspection"},
            "holds what is no JSON",
            id="no JSON",
        ),
        pytest.param(
            "DELETE FROM inspection WHERE state = 'good'",
            {"inspection"},
            "is missing, though an event made it",
            id="dropped inspection",
        ),
        pytest.param(
            "UPDATE decision SET verdict = 'reject'",
            {"decision"},
            "verdict is 'reject', and 'good' by the events",
            id="decision",
        ),
        pytest.param(
            "INSERT INTO decision SELECT 1, inspection_id, at, person, verdict, reason "
            "FROM decision",
            {"decision"},
            "decision 1: no event made it",
            id="decision that nobody made",
        ),
        pytest.param(
            "UPDATE tally SET count = 7 WHERE state = 'reject'",
            {"tally"},
            "bolt: 7 parts are reject, and 1 by the events",
            id="tally",
        ),
        pytest.param(
            "DELETE FROM tally WHERE state = 'received'",
            {"tally"},
            "bolt: 0 parts are received, and 5 by the events",
            id="dropped tally",
        ),
        pytest.param(
            "UPDATE person SET role = 'approver'",
            {"person"},
            "person eva: role is 'approver'",
            id="role of a person",
        ),
        pytest.param(
            "UPDATE checkpoint SET hash = 'x'",
            {"checkpoint"},
            "event 15: is not that of the checkpoint in the database",
            id="checkpoint in the database",
        ),
        pytest.param(
            "INSERT INTO checkpoint VALUES (99, 'x', 'y')",
            {"checkpoint"},
            "the checkpoint of event 99 in the database: there is no such event",
            id="checkpoint beyond the end",
        ),
    ],
)
def test_a_change_in_the_database_is_found(
    record: FilledRecord, change: str, kinds: set[str], named: str
) -> None:
    tamper(record, change)
    report = check(record)
    assert found(report).keys() == kinds
    assert any(named in text for text in found(report).values()), found(report)


def test_a_secret_may_change(record: FilledRecord) -> None:
    tamper(record, "UPDATE person SET password_hash = 'other'")
    assert check(record).is_fine


def test_swapped_events_are_found(record: FilledRecord) -> None:
    tamper(
        record,
        "UPDATE event SET seq = 99 WHERE seq = 6",
        "UPDATE event SET seq = 6 WHERE seq = 7",
        "UPDATE event SET seq = 7 WHERE seq = 99",
    )
    findings = found(check(record))
    assert findings["prev"] == "event 6: does not hold the hash of the event before it"
    assert findings["columns"] == "event 6: seq is 6, and 7 in its text"


def test_an_appended_event_is_found_by_the_rows_that_it_should_make(record: FilledRecord) -> None:
    data = {"verdict": "reject", "reason": "bent"}
    tamper(record, lambda db: append_event(db, "decision.made", record.ids["good"], data))
    assert found(check(record)) == {"decision": "decision 17: is missing, though an event made it"}


@pytest.mark.parametrize(
    ("kind", "subject", "data", "named"),
    [
        ("inspection.eaten", "x", {}, "event 17 (inspection.eaten): there is no such kind"),
        ("inspection.skipped", "x", {"reason": "y"}, "changes inspection x, which no event made"),
        ("inspection.skipped", "reject", {"reason": "y"}, "changes the verdict of inspection"),
        ("person.added", "eva", {"name": "Eva", "role": "engineer"}, "an event before it made"),
        ("person.added", "bob", {"name": "Bob"}, "lacks 'role' for its row"),
    ],
)
def test_an_appended_event_that_makes_no_sense_is_found(
    record: FilledRecord, kind: str, subject: str, data: Data, named: str
) -> None:
    subject = record.ids.get(subject, subject)
    tamper(record, lambda db: append_event(db, kind, subject, data))
    assert named in found(check(record))["replay"]


def test_a_chain_written_anew_is_found_by_a_checkpoint_alone(record: FilledRecord) -> None:
    """Rows and tallies are changed too, and even the checkpoint in the database."""

    def change(data: Data) -> None:
        data["score"] = 1.5

    tamper(
        record,
        lambda db: rewrite(db, 12, change),
        "UPDATE inspection SET score = 1.5 WHERE state = 'reject'",
        "UPDATE checkpoint SET hash = (SELECT hash FROM event WHERE event.seq = checkpoint.seq)",
    )
    assert check(record).is_fine
    findings = found(check(record, outside=True))
    assert findings == {
        "checkpoint": f"event 15: is not that of the checkpoint in {record.checkpoints}"
    }


def test_a_cut_end_is_found_by_a_checkpoint_alone(record: FilledRecord) -> None:
    tamper(
        record,
        "DELETE FROM event WHERE seq >= 15",
        "DELETE FROM decision",
        "DELETE FROM checkpoint",
    )
    assert check(record).is_fine
    text = found(check(record, outside=True))["checkpoint"]
    assert text == (
        f"the checkpoint of event 15 in {record.checkpoints}: there is no such event; the chain "
        "ends with 14"
    )


def test_a_changed_line_of_the_outside_file_is_found(record: FilledRecord) -> None:
    line = record.checkpoints.read_text()
    row = json.loads(line)
    record.checkpoints.write_text(line.replace(row["hash"], "0" * 64))
    assert "is not that of the checkpoint in" in found(check(record, outside=True))["checkpoint"]
    record.checkpoints.write_text("x\n")
    assert "line 1 is no checkpoint" in found(check(record, outside=True))["checkpoint"]
    record.checkpoints.unlink()
    assert "is missing" in found(check(record, outside=True))["checkpoint"]


def test_a_checkpoint_that_is_outside_alone_is_found(record: FilledRecord) -> None:
    tamper(record, "DELETE FROM checkpoint")
    assert "not in the database" in found(check(record, outside=True))["checkpoint"]


def test_a_dropped_or_other_trigger_is_found(record: FilledRecord) -> None:
    file = record.folder / "record.sqlite"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("DROP TRIGGER event_no_update")
    assert found(check(record)) == {"trigger": "the trigger event_no_update is missing or off"}
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(
            "CREATE TRIGGER event_no_update BEFORE UPDATE ON event BEGIN SELECT 1; END"
        )
    assert found(check(record)) == {
        "trigger": "the trigger event_no_update is not as flawmap made it"
    }
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TRIGGER a AFTER UPDATE ON tally BEGIN SELECT 1; END")
    report = check(record)
    assert found(report) == {"trigger": "the trigger a is none of flawmap's"}
    assert report.findings[0].count == 2


@pytest.mark.parametrize("category", ["image", "overlay"])
def test_other_bytes_and_missing_files_are_found(record: FilledRecord, category: str) -> None:
    file = next(path for path in record.files.folder.glob(f"{category}/*/*/*") if path.is_file())
    file.write_bytes(file.read_bytes() + b" ")
    assert found(check(record)) == {"file": f"{file}: has other bytes than were stored"}
    file.unlink()
    assert found(check(record)) == {"file": f"{file}: No such file or directory"}


def test_a_file_that_retention_deleted_is_not_missed(record: FilledRecord) -> None:
    file = next(path for path in record.files.folder.glob("overlay/*/*/*") if path.is_file())
    with closing(Database.in_folder(record.folder)) as database, RecordWriter(database) as writer:
        rule = {"rule": "overlays after 1 day"}
        writer.run(lambda t: t.append("file.deleted", file.name, "local", rule))
    file.unlink()
    report = check(record)
    assert report.is_fine
    assert report.files == 5


def test_inspectors_are_compared_where_their_folder_is_given(record: FilledRecord) -> None:
    file = record.folder / "inspectors" / f"{'a' * 64}.flawmap"
    with closing(Database.in_folder(record.folder)) as database:
        assert verify(database, record.files, inspectors=file.parent).is_fine
        file.write_bytes(b"x")
        report = verify(database, record.files, inspectors=file.parent)
        assert found(report) == {"inspector file": f"{file}: has other bytes than were imported"}
        file.unlink()
        report = verify(database, record.files, inspectors=file.parent)
        assert found(report) == {"inspector file": f"{file}: No such file or directory"}


def test_a_record_in_postgresql_is_compared_likewise(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    with closing(Database(postgres.url("verified"))) as database:
        record = fill(tmp_path / "data", database)

        def look() -> Report:
            return verify(
                database,
                record.files,
                record.checkpoints,
                inspectors=record.folder / "inspectors",
            )

        def execute(statement: str) -> None:
            with database.write() as connection:
                connection.execute(text(statement))

        report = look()
        assert report.findings == ()
        assert (report.events, report.rows, report.files, report.checkpoints) == (16, 21, 6, 2)
        execute("ALTER TABLE event DISABLE TRIGGER event_no_update")
        assert found(look()) == {"trigger": "the trigger event_no_update is missing or off"}
        execute("UPDATE event SET body = body || ' ' WHERE seq = 3")
        execute("ALTER TABLE event ENABLE TRIGGER event_no_update")
        assert found(look()).keys() == {"hash", "prev"}
        execute("DROP TRIGGER event_no_update ON event")
        execute("UPDATE tally SET count = 7 WHERE state = 'good'")
        assert found(look()).keys() == {"hash", "prev", "trigger", "tally"}
