from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from filled_record import FilledRecord, fill
from flawmap.errors import RecordError
from helpers import run, run_json


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> FilledRecord:
    return fill(tmp_path_factory.mktemp("record") / "data")


@pytest.fixture
def record(original: FilledRecord, tmp_path: Path) -> FilledRecord:
    return original.copy(tmp_path / "data")


def test_verify_says_that_all_fits(record: FilledRecord) -> None:
    code, output = run("record", "verify", "--data", record.folder)
    assert code == 0
    assert "16 events, 21 rows, 6 files and 2 checkpoints were compared" in output
    assert "all fits; the chain ends with " in output
    code, report = run_json("record", "verify", "--data", record.folder)
    assert code == 0
    assert report["is_fine"] is True
    assert report["head"] == head(record)


def head(record: FilledRecord) -> str:
    with closing(sqlite3.connect(record.folder / "record.sqlite")) as connection:
        statement = "SELECT hash FROM event ORDER BY seq DESC LIMIT 1"
        return str(connection.execute(statement).fetchone()[0])


def test_verify_names_what_does_not_fit(record: FilledRecord) -> None:
    with closing(sqlite3.connect(record.folder / "record.sqlite")) as connection:
        connection.execute("UPDATE tally SET count = 7 WHERE state IN ('good', 'reject')")
        connection.commit()
    code, output = run("record", "verify", "--data", record.folder)
    assert code == 1
    assert "tally: bolt: 7 parts are good, and 1 by the events (1 more)" in output
    code, report = run_json("record", "verify", "--data", record.folder)
    assert code == 1
    assert [finding["kind"] for finding in report["findings"]] == ["tally"]


def test_verify_takes_checkpoints_from_elsewhere(record: FilledRecord, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.jsonl"
    row = {"seq": 99, "hash": "0" * 64, "at": "2026-01-31T12:00:00.000Z"}
    elsewhere.write_text(f"{record.checkpoints.read_text()}{json.dumps(row)}\n")
    code, output = run("record", "verify", "--data", record.folder, "--checkpoints", elsewhere)
    assert code == 1
    assert "there is no such event; the chain ends with 16" in output


def test_a_folder_without_a_record_is_named_and_stays_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"there is no record\.sqlite"):
        run("record", "verify", "--data", tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_command_line_does_not_import_the_station() -> None:
    script = "import sys, flawmap.cli; print([n for n in sys.modules if 'sqlalchemy' in n])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_backup_is_made_and_restored(record: FilledRecord, tmp_path: Path) -> None:
    copy, new = tmp_path / "copy", tmp_path / "new"
    code, output = run("record", "backup", "--data", record.folder, "-o", copy)
    assert code == 0
    assert "16 events and 7 files" in output
    assert run("record", "verify", "--data", copy)[0] == 0
    code, output = run("record", "restore", copy, "--data", new)
    assert code == 0
    assert "all fits" in output
    code, report = run_json("record", "verify", "--data", new)
    assert (code, report["events"]) == (0, 17)


def test_a_backup_of_a_damaged_record_says_so(record: FilledRecord, tmp_path: Path) -> None:
    next((record.folder / "inspectors").iterdir()).unlink()
    code, made = run_json("record", "backup", "--data", record.folder, "-o", tmp_path / "copy")
    assert code == 1
    assert len(made["problems"]) == 1
    code, output = run("record", "restore", tmp_path / "copy", "--data", tmp_path / "new")
    assert code == 1
    assert "inspector file:" in output


def test_old_files_are_deleted(record: FilledRecord) -> None:
    arguments = ("record", "retain", "--data", record.folder, "--images-days", 0)
    code, output = run(*arguments, "--overlays-days", 1, "--dry-run")
    assert code == 0
    assert "4 images and 0 overlays, 0.0 MB, would be deleted" in output
    code, done = run_json(*arguments)
    assert code == 0
    assert done == {"images": 4, "overlays": 0, "freed_bytes": 62, "dry_run": False}
    code, report = run_json("record", "verify", "--data", record.folder)
    assert (code, report["events"], report["files"]) == (0, 20, 2)


def test_parts_are_exported(record: FilledRecord, tmp_path: Path) -> None:
    arguments = ("record", "export", "--data", record.folder, "--since", "2026-01-01")
    code, output = run(*arguments, "-o", tmp_path / "out", "--images", "--product", "bolt")
    assert code == 0
    assert f"{tmp_path / 'out'}: 5 parts and 6 images" in output
    next(record.files.folder.rglob("overlay/*/*/*")).unlink()
    code, made = run_json(*arguments, "-o", tmp_path / "again", "--images")
    assert code == 1
    assert (made["inspections"], made["images"], len(made["problems"])) == (5, 5, 1)
