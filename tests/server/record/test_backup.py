"""A copy of a record is restored and found to be the same."""

import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from filled_record import PRODUCT, FilledRecord
from flawmap.errors import RecordError, WriteError
from flawmap.server.record.backup import make_backup, restore_backup
from flawmap.server.record.database import Database
from flawmap.server.record.inspections import Arrival, receive
from flawmap.server.record.layout import DataFolder
from flawmap.server.record.reader import RecordReader
from flawmap.server.record.verify import Report, verify
from flawmap.server.record.writer import RecordWriter


@pytest.fixture
def database(record: FilledRecord) -> Iterator[Database]:
    with closing(Database.in_folder(record.folder)) as opened:
        yield opened


def check(folder: Path) -> Report:
    data = DataFolder(folder)
    with closing(Database.in_folder(folder)) as opened:
        return verify(opened, data.files, data.checkpoints, inspectors=data.inspectors)


def last_event(folder: Path) -> dict[str, object]:
    with closing(Database.in_folder(folder)) as opened:
        return RecordReader(opened).events()[-1]


def test_a_copy_is_a_record_and_is_itself_on_record(
    record: FilledRecord, database: Database, tmp_path: Path
) -> None:
    before = RecordReader(database).head()
    made = make_backup(database, DataFolder(record.folder), tmp_path / "copy", "eva")
    assert (made.events, made.head) == before
    assert (made.files, made.problems) == (7, ())
    assert check(tmp_path / "copy").findings == ()
    assert check(tmp_path / "copy").head == made.head
    event = last_event(record.folder)
    assert (event["kind"], event["actor"]) == ("backup.made", "eva")
    assert event["data"] == made.to_dict() | {"problems": 0}
    assert check(record.folder).is_fine


def test_a_copy_is_restored_with_all_that_is_in_it(
    record: FilledRecord, database: Database, tmp_path: Path
) -> None:
    make_backup(database, DataFolder(record.folder), tmp_path / "copy", "eva")
    report = restore_backup(tmp_path / "copy", tmp_path / "new", "bob")
    assert report.is_fine
    assert (report.events, report.files) == (16, 6)
    for file in ("files", "inspectors", "checkpoints.jsonl"):
        assert content(tmp_path / "new" / file) == content(record.folder / file)
    event = last_event(tmp_path / "new")
    assert (event["seq"], event["kind"], event["actor"]) == (17, "backup.restored", "bob")
    assert event["prev"] == report.head
    assert check(tmp_path / "new").is_fine
    with closing(Database.in_folder(tmp_path / "new")) as restored:
        assert RecordReader(restored).inspection(record.ids["reject"]) == RecordReader(
            database
        ).inspection(record.ids["reject"])


def test_a_copy_is_of_one_moment_while_parts_come(
    record: FilledRecord, database: Database, tmp_path: Path
) -> None:
    is_over = threading.Event()

    def receive_parts() -> None:
        with RecordWriter(database) as writer:
            while not is_over.is_set():
                data = secrets.token_bytes(8)
                part = Arrival(PRODUCT, record.files.store(data, "image"), len(data), "rest")
                writer.run(partial(receive, arrival=part, station="line 1", actor="cell"))

    thread = threading.Thread(target=receive_parts)
    thread.start()
    try:
        copies = [
            make_backup(database, DataFolder(record.folder), tmp_path / f"copy {number}", "eva")
            for number in range(2)
        ]
        assert check(record.folder).findings == ()
    finally:
        is_over.set()
        thread.join()
    assert copies[1].events > copies[0].events + 1
    for copy in copies:
        assert copy.problems == ()
        report = check(Path(copy.folder))
        assert (report.findings, report.head) == ((), copy.head)


def content(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    assert files
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def test_damage_is_named_and_does_not_keep_the_rest_from_being_copied(
    record: FilledRecord, database: Database, tmp_path: Path
) -> None:
    image = next(file for file in record.files.folder.rglob("image/*/*/*") if file.is_file())
    image.unlink()
    next((record.folder / "inspectors").iterdir()).unlink()
    made = make_backup(database, DataFolder(record.folder), tmp_path / "copy", "eva")
    assert made.files == 5
    assert len(made.problems) == 2
    assert str(image) in made.problems[0]
    report = restore_backup(tmp_path / "copy", tmp_path / "new", "bob")
    assert {finding.kind for finding in report.findings} == {"file", "inspector file"}
    data = last_event(tmp_path / "new")["data"]
    assert isinstance(data, dict)
    assert len(data["findings"]) == 2


def test_a_changed_copy_is_found_when_it_is_restored(
    record: FilledRecord, database: Database, tmp_path: Path
) -> None:
    make_backup(database, DataFolder(record.folder), tmp_path / "copy", "eva")
    with closing(sqlite3.connect(tmp_path / "copy" / "record.sqlite")) as connection:
        connection.execute("UPDATE tally SET count = 7 WHERE state = 'good'")
        connection.commit()
    report = restore_backup(tmp_path / "copy", tmp_path / "new", "bob")
    assert [finding.kind for finding in report.findings] == ["tally"]


def test_nothing_is_overwritten(record: FilledRecord, database: Database, tmp_path: Path) -> None:
    data = DataFolder(record.folder)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter").touch()
    with pytest.raises(WriteError, match="is not empty"):
        make_backup(database, data, tmp_path / "full", "eva")
    make_backup(database, data, tmp_path / "copy", "eva")
    with pytest.raises(WriteError, match="is not empty"):
        restore_backup(tmp_path / "copy", tmp_path / "full", "eva")
    assert [file.name for file in (tmp_path / "full").iterdir()] == ["letter"]


def test_what_is_no_backup_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"there is no record\.sqlite"):
        restore_backup(tmp_path, tmp_path / "new", "eva")
    (tmp_path / "record.sqlite").write_bytes(b"letter" * 1000)
    with pytest.raises(RecordError, match="not a database"):
        restore_backup(tmp_path, tmp_path / "new", "eva")
    assert not (tmp_path / "new").exists()


def test_a_database_of_the_plants_own_is_not_copied(record: FilledRecord, tmp_path: Path) -> None:
    database = Database("postgresql+psycopg://me@127.0.0.1:1/nothing")
    with pytest.raises(RecordError, match="use pg_dump"):
        make_backup(database, DataFolder(record.folder), tmp_path / "copy", "eva")
