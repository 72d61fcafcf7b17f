"""What is judged again is found as it was, unless something changed."""

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from flawmap.runtime.inference import Runtime
from flawmap.server.core.replay import Replay, replay
from flawmap.server.core.states import State
from flawmap.server.core.station import Station
from flawmap.server.record.database import Database
from flawmap.server.record.layout import DataFolder
from flawmap.server.record.reader import Query, RecordReader, Row
from flawmap.server.record.retention import Rules, retain
from helpers import run, run_json, texture
from small_bundle import save_small_bundle


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder: two good parts, one that is rejected, and one that is no image."""
    folder = tmp_path_factory.mktemp("replay")
    (folder / "inspectors").mkdir()
    save_small_bundle(folder / "inspectors" / "small.flawmap")
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    images = [texture(0), texture(1), noise]
    files = [cv2.imencode(".png", image)[1].tobytes() for image in images]
    with Station(folder / "data", inspectors=folder / "inspectors") as station:
        wait(station, State.READY)
        for data in [*files, b"no image"]:
            station.submit(data, "small", source="rest", actor="cell")
            wait(station, State.READY)
    return folder / "data"


def wait(station: Station, state: State) -> None:
    deadline = time.monotonic() + 30
    while station.state is not state:
        assert time.monotonic() < deadline, f"is {station.state}: {station.reasons}"
        time.sleep(0.01)


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    shutil.copytree(original, tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def database(folder: Path) -> Iterator[Database]:
    with closing(Database.in_folder(folder)) as opened:
        yield opened


def again(database: Database, folder: Path, limit: int | None = None) -> Replay:
    data = DataFolder(folder)
    return replay(database, data.files, data.inspectors, limit)


def parts(database: Database) -> list[Row]:
    """The oldest first."""
    return RecordReader(database).search(Query()).items[::-1]


def change(folder: Path, number: int, columns: str) -> None:
    """Change a part behind the record's back."""
    with closing(sqlite3.connect(folder / "record.sqlite")) as connection:
        connection.execute("DROP TRIGGER IF EXISTS inspection_no_update")
        seqs = connection.execute("SELECT received_seq FROM inspection ORDER BY received_seq")
        seq = seqs.fetchall()[number][0]
        connection.execute(f"UPDATE inspection SET {columns} WHERE received_seq = {seq}")
        connection.commit()


def test_the_same_machine_finds_the_same(database: Database, folder: Path) -> None:
    assert [part["state"] for part in parts(database)] == ["good", "good", "reject", "undecided"]
    head = RecordReader(database).head()
    assert again(database, folder) == Replay({"same": 4}, ())
    assert again(database, folder, limit=3).counts == {"same": 3}
    assert RecordReader(database).head() == head


def test_another_score_differs(database: Database, folder: Path) -> None:
    change(folder, 0, "score = score * 1.01")
    done = again(database, folder)
    assert done.counts == {"same": 3, "differs": 1}
    (other,) = done.others
    assert other.id == parts(database)[0]["id"]
    assert (other.outcome, other.state, other.state_now) == ("differs", "good", "good")
    assert other.score == pytest.approx(1.01 * (other.score_now or 0))


def test_a_score_within_what_machines_differ_by_is_the_same(
    database: Database, folder: Path
) -> None:
    change(folder, 0, "score = score * 1.0005")
    assert again(database, folder).counts == {"same": 4}


@pytest.mark.parametrize(("number", "state"), [(0, "reject"), (2, "good"), (3, "good")])
def test_another_verdict_differs(database: Database, folder: Path, number: int, state: str) -> None:
    change(folder, number, f"state = '{state}'")
    assert again(database, folder).counts == {"same": 3, "differs": 1}


def test_a_verdict_at_the_threshold_is_borderline(database: Database, folder: Path) -> None:
    change(folder, 0, "score = score * 1.0004, threshold = score * 1.0002, state = 'reject'")
    done = again(database, folder)
    assert done.counts == {"same": 3, "borderline": 1}
    assert (done.others[0].state, done.others[0].state_now) == ("reject", "good")


def test_the_threshold_on_record_decides(database: Database, folder: Path) -> None:
    change(folder, 0, "threshold = score / 2, state = 'reject'")
    assert again(database, folder).counts == {"same": 4}


def test_a_missing_image_is_told_from_one_that_was_deleted(
    database: Database, folder: Path
) -> None:
    files = DataFolder(folder).files
    files.path(parts(database)[2]["image_sha256"], "image").unlink()
    retain(database, files, Rules(good_days=0), "eva")
    done = again(database, folder)
    assert done.counts == {"image deleted": 2, "image missing": 1, "same": 1}
    assert [other.outcome for other in done.others].count("image deleted") == 2


def test_a_missing_or_other_inspector_is_named(database: Database, folder: Path) -> None:
    (file,) = (folder / "inspectors").glob("*.flawmap")
    data = file.read_bytes()
    file.write_bytes(data[:-1])
    done = again(database, folder)
    assert done.counts == {"inspector missing": 4}
    assert str(file) in done.others[0].error
    file.unlink()
    assert again(database, folder).others[0].error == f"{file}: is missing"
    other = file.with_name("other.flawmap")
    other.write_bytes(data)
    run("threshold", other, "--false-rejects", "0.2")
    other.rename(file)
    assert "is another inspector" in again(database, folder).others[0].error
    assert Runtime.load(file).model_sha256 in again(database, folder).others[0].error


def test_the_command_says_what_differs(folder: Path) -> None:
    arguments = ("record", "replay", "--data", folder)
    assert run(*arguments) == (0, "4 same\n")
    change(folder, 0, "score = score * 1.01")
    code, output = run(*arguments)
    assert code == 1
    assert "differs: " in output
    assert "was good with score" in output
    assert "1 differs, 3 same" in output
    assert run(*arguments, "--limit", 2) == (0, "2 same\n")
    next((folder / "inspectors").glob("*.flawmap")).unlink()
    code, document = run_json(*arguments)
    assert code == 2
    assert document["counts"] == {"inspector missing": 4}
    assert len(document["others"]) == 4
