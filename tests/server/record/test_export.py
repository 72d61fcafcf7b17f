"""What is exported is what is in the record."""

import csv
import hashlib
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from filled_record import PRODUCT, FilledRecord
from flawmap.errors import OptionError, WriteError
from flawmap.server.record.database import Database
from flawmap.server.record.export import Export, Selection, make_export
from flawmap.server.record.inspections import Arrival, receive
from flawmap.server.record.reader import RecordReader
from flawmap.server.record.retention import Rules, retain
from flawmap.server.record.verify import verify
from flawmap.server.record.writer import RecordWriter


@pytest.fixture
def database(record: FilledRecord) -> Iterator[Database]:
    with closing(Database.in_folder(record.folder)) as opened:
        yield opened


def lines(export: Export) -> list[dict[str, Any]]:
    texts = (Path(export.folder) / "inspections.jsonl").read_text("utf-8").splitlines()
    return [json.loads(text) for text in texts]


def cells(export: Export) -> list[dict[str, str]]:
    with (Path(export.folder) / "inspections.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_both_tables_hold_all_parts_with_what_people_said(
    record: FilledRecord, database: Database, tmp_path: Path
) -> None:
    export = make_export(database, record.files, tmp_path / "out", Selection(), "eva")
    states = ["good", "reject", "undecided", "skipped", "waiting"]
    assert [line["state"] for line in lines(export)] == states
    assert [row["state"] for row in cells(export)] == states
    assert (export.inspections, export.images, export.problems) == (5, 0, ())
    reader = RecordReader(database)
    for line in lines(export):
        row = reader.inspection(line["id"])
        assert row is not None
        assert {name: line[name] for name in row} == row
        assert line["decisions"] == reader.decisions(line["id"])
    rejected = cells(export)[1]
    assert json.loads(rejected["regions"]) == [{"area": 4}]
    assert (rejected["score"], rejected["decided_verdict"]) == ("2.5", "good")
    assert (rejected["decided_by"], rejected["decided_reason"]) == ("eva", "dust")
    assert cells(export)[0]["decided_verdict"] == ""


def test_an_export_is_on_record_with_the_hashes_of_its_tables(
    record: FilledRecord, database: Database, tmp_path: Path
) -> None:
    head = RecordReader(database).head()
    export = make_export(database, record.files, tmp_path / "out", Selection(), "eva")
    event = RecordReader(database).events()[-1]
    assert (event["kind"], event["actor"]) == ("export.made", "eva")
    assert event["data"] == export.to_dict() | {"problems": 0}
    assert (export.events, export.head) == head
    for name, sha256 in export.sha256.items():
        assert hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest() == sha256
    assert json.loads((tmp_path / "out" / "export.json").read_text()) == export.to_dict()
    assert verify(database, record.files).is_fine


def test_images_are_copied_where_they_are_there(
    record: FilledRecord, database: Database, tmp_path: Path
) -> None:
    data = b"image of good"
    arrival = Arrival(PRODUCT, record.files.store(data, "image"), len(data), "rest", name="x/A.PNG")
    with RecordWriter(database) as writer:
        writer.run(lambda t: receive(t, arrival, "line 1", "cell"))
    reader = RecordReader(database)
    rejected = reader.inspection(record.ids["reject"])
    undecided = reader.inspection(record.ids["undecided"])
    assert rejected is not None
    assert undecided is not None
    with RecordWriter(database) as writer:
        rule = {"rule": "images 1 day"}
        writer.run(lambda t: t.append("file.deleted", rejected["image_sha256"], "eva", rule))
    record.files.path(undecided["image_sha256"], "image").unlink()

    export = make_export(database, record.files, tmp_path / "out", Selection(), "eva", images=True)
    by_id = {line["id"]: line for line in lines(export)}
    good, last = by_id[record.ids["good"]], lines(export)[-1]
    assert (tmp_path / "out" / good["image_file"]).read_bytes() == data
    assert last["image_file"] == f"{good['image_file']}.png"
    assert by_id[record.ids["reject"]]["image_file"] == ""
    overlay = by_id[record.ids["reject"]]["overlay_file"]
    assert (tmp_path / "out" / overlay).read_bytes() == b"overlay"
    assert by_id[record.ids["undecided"]]["image_file"] == ""
    assert len(export.problems) == 1
    assert undecided["image_sha256"] in export.problems[0]
    files = {str(file.relative_to(tmp_path / "out")) for file in (tmp_path / "out").rglob("*s/*")}
    named = {line[name] for line in lines(export) for name in ("image_file", "overlay_file")}
    assert files == named - {""}
    assert export.images == len(files)


def test_a_period_and_a_product_are_selected(
    record: FilledRecord, database: Database, tmp_path: Path
) -> None:
    third = RecordReader(database).inspection(record.ids["undecided"])
    assert third is not None
    moment = third["received_at"]

    def ids(name: str, **selection: str) -> list[str]:
        chosen = Selection(**selection)
        return [
            line["id"]
            for line in lines(make_export(database, record.files, tmp_path / name, chosen, "eva"))
        ]

    everything = ids("all", product=PRODUCT)
    assert len(everything) == 5
    assert ids("none", product="nut") == []
    early, late = ids("early", until=moment), ids("late", since=moment)
    assert early + late == everything
    assert third["id"] == late[0] or third["id"] in late
    assert ids("future", since="2999-01-01") == []


def test_what_is_no_time_is_refused() -> None:
    with pytest.raises(OptionError, match="--until tomorrow: is no time"):
        Selection(until="tomorrow")


def test_a_folder_with_something_in_it_stays_as_it_is(
    record: FilledRecord, database: Database, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter").touch()
    with pytest.raises(WriteError, match="is not empty"):
        make_export(database, record.files, tmp_path / "out", Selection(), "eva")
    assert RecordReader(database).head()[0] == 16


def test_an_export_after_retention_has_no_problems(
    record: FilledRecord, database: Database, tmp_path: Path
) -> None:
    retain(database, record.files, Rules(0, 0, 0), "eva")
    export = make_export(database, record.files, tmp_path / "out", Selection(), "eva", images=True)
    assert export.problems == ()
    assert export.images >= 1
