"""Old bytes go, and nothing else does."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from filled_record import PRODUCT, FilledRecord
from flawmap.errors import OptionError
from flawmap.server.record.database import Database
from flawmap.server.record.files import FileStore
from flawmap.server.record.inspections import Arrival, decide, receive
from flawmap.server.record.reader import RecordReader
from flawmap.server.record.retention import Retained, Rules, retain
from flawmap.server.record.verify import verify
from flawmap.server.record.writer import RecordWriter

LATER = datetime.now(UTC) + timedelta(days=100)


@pytest.fixture
def database(record: FilledRecord) -> Iterator[Database]:
    with closing(Database.in_folder(record.folder)) as opened:
        yield opened


def kept(record: FilledRecord) -> set[str]:
    """What is still there: the texts of images, and `overlay`."""
    return {
        file.read_text().removeprefix("image of ")
        for file in record.files.folder.rglob("*")
        if file.is_file()
    }


ALL = {"good", "reject", "undecided", "skipped", "waiting", "overlay"}


@pytest.mark.parametrize(
    ("rules", "gone"),
    [
        (Rules(images_days=101), set()),
        (Rules(images_days=99), {"good", "reject", "undecided", "skipped"}),
        (Rules(good_days=99), {"good"}),
        (Rules(images_days=200, good_days=99), {"good"}),
        (Rules(images_days=99, good_days=200), {"reject", "undecided", "skipped"}),
        (Rules(overlays_days=99), {"overlay"}),
        (Rules(images_days=200, overlays_days=0), {"overlay"}),
        (Rules(0, 0, 0), ALL - {"waiting"}),
    ],
)
def test_what_is_old_goes(
    record: FilledRecord, database: Database, rules: Rules, gone: set[str]
) -> None:
    done = retain(database, record.files, rules, "eva", now=LATER)
    assert kept(record) == ALL - gone
    assert done.images == len(gone - {"overlay"})
    assert done.overlays == len(gone & {"overlay"})
    assert verify(database, record.files).is_fine
    assert retain(database, record.files, rules, "eva", now=LATER) == Retained(0, 0, 0)


def test_each_deletion_is_on_record_with_its_rule(record: FilledRecord, database: Database) -> None:
    sha256 = RecordReader(database).inspection(record.ids["good"])["image_sha256"]  # type: ignore[index]
    done = retain(database, record.files, Rules(365, 90), "eva", now=LATER)
    assert done == Retained(1, 0, len("image of good"))
    event = RecordReader(database).events()[-1]
    assert (event["kind"], event["subject"], event["actor"]) == ("file.deleted", sha256, "eva")
    assert event["data"] == {"rule": "images 365 days, of good parts 90 days"}
    row = RecordReader(database).stored_file(sha256)
    assert row is not None
    assert row["deleted_at"] == event["at"]
    assert RecordReader(database).stored_bytes() == sum(
        file.stat().st_size for file in record.files.folder.rglob("*") if file.is_file()
    )


def test_a_dry_run_counts_and_deletes_nothing(record: FilledRecord, database: Database) -> None:
    done = retain(database, record.files, Rules(0, 0, 0), "eva", dry_run=True, now=LATER)
    assert (done.images, done.overlays) == (4, 1)
    assert kept(record) == ALL
    assert RecordReader(database).head()[0] == 16


def test_a_good_part_that_a_person_decided_on_is_none_of_the_good(
    record: FilledRecord, database: Database
) -> None:
    with RecordWriter(database) as writer:
        writer.run(lambda t: decide(t, record.ids["good"], "reject", "bent", "eva"))
    retain(database, record.files, Rules(200, 0), "eva", now=LATER)
    assert kept(record) == ALL


def receive_again(database: Database, files: FileStore, days: int) -> None:
    """The part of the good image comes once more."""
    data = b"image of good"
    arrival = Arrival(PRODUCT, files.store(data, "image"), len(data), "rest")
    clock = LATER - timedelta(days=days)
    with RecordWriter(database, lambda: clock) as writer:
        writer.run(lambda t: receive(t, arrival, "line 1", "cell"))


def test_an_image_stays_while_any_part_needs_it(record: FilledRecord, database: Database) -> None:
    receive_again(database, record.files, 50)
    retain(database, record.files, Rules(images_days=0), "eva", now=LATER)
    assert kept(record) == {"good", "waiting", "overlay"}


def test_an_image_that_comes_again_after_its_deletion_is_there_again(
    record: FilledRecord, database: Database
) -> None:
    retain(database, record.files, Rules(good_days=60), "eva", now=LATER)
    assert "good" not in kept(record)
    receive_again(database, record.files, 50)
    assert kept(record) == ALL
    assert verify(database, record.files).is_fine


def test_an_image_that_comes_meanwhile_is_not_deleted(
    record: FilledRecord, database: Database
) -> None:
    class Meanwhile(Database):
        """Has the part come between the search for old files and the first transaction."""

        def write(self):  # type: ignore[no-untyped-def]
            receive_again(database, record.files, 50)
            return database.write()

    with closing(Meanwhile.in_folder(record.folder)) as other:
        done = retain(other, record.files, Rules(good_days=60), "eva", now=LATER)
    assert done.images == 0
    assert kept(record) == ALL
    assert verify(database, record.files).is_fine


def test_a_file_that_is_gone_already_is_put_on_record(
    record: FilledRecord, database: Database
) -> None:
    shutil.rmtree(record.files.folder / "overlay")
    assert not verify(database, record.files).is_fine
    retain(database, record.files, Rules(overlays_days=0), "eva", now=LATER)
    assert verify(database, record.files).is_fine


@pytest.mark.parametrize("days", [(None, None, None), (-1, None, None), (None, 40_000, None)])
def test_rules_that_cannot_be(days: tuple[int | None, ...]) -> None:
    with pytest.raises(OptionError):
        Rules(*days)
