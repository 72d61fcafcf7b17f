from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flawmap.errors import OptionError
from flawmap.render.encode import encode_image
from flawmap.server.core.station import Station
from flawmap.server.core.watch import FolderWatcher, Watch
from flawmap.server.record.reader import Query, Row
from helpers import texture
from server.waiting import wait_for

IMAGE = encode_image(texture(1, 64, 64), ".png")
SETTLE = 0.2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def done(tmp_path: Path) -> Path:
    return tmp_path / "done"


def watching(
    station: Station, folder: Path, done: Path, patience: float = 0.5, **options: Any
) -> FolderWatcher:
    watches = [Watch(folder, "small", done)]
    return FolderWatcher(station, watches, settle=SETTLE, patience=patience, **options)


def rows(station: Station) -> list[Row]:
    return station.reader.search(Query()).items


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_name_that_is_no_text_is_taken_too(station: Station, folder: Path, done: Path) -> None:
    try:
        (folder / os.fsdecode(b"part-\xff.png")).write_bytes(IMAGE)
    except OSError:
        pytest.skip("this file system takes no such name")
    with watching(station, folder, done):
        wait_for(lambda: files(done))
    (row,) = rows(station)
    assert row["name"] == "part-\\xff.png"


@pytest.mark.parametrize("name", ["a.png", "a b (1).png", "零件.png", "sub/part #7.PNG"])
def test_a_file_is_judged_and_moved(station: Station, folder: Path, done: Path, name: str) -> None:
    with watching(station, folder, done):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(IMAGE)
        wait_for(lambda: files(done))
    assert files(done) == {f"small/{Path(name).name}"}
    assert not files(folder)
    (row,) = rows(station)
    row = station.wait(row["id"], 5) or {}
    assert (row["name"], row["state"], row["source"]) == (Path(name).name, "good", "watch")


def test_a_slow_writer_is_waited_for(station: Station, folder: Path, done: Path) -> None:
    with watching(station, folder, done, patience=30):
        with (folder / "slow.png").open("wb") as stream:
            for start in range(0, len(IMAGE), 1 + len(IMAGE) // 6):
                stream.write(IMAGE[start : start + 1 + len(IMAGE) // 6])
                stream.flush()
                time.sleep(SETTLE / 2)
        wait_for(lambda: files(done))
    assert (done / "small" / "slow.png").read_bytes() == IMAGE
    assert len(rows(station)) == 1


def test_what_pauses_in_its_middle_is_no_image_yet(
    station: Station, folder: Path, done: Path
) -> None:
    with watching(station, folder, done, patience=30):
        (folder / "half.png").write_bytes(IMAGE[: len(IMAGE) // 2])
        time.sleep(3 * SETTLE)
        assert not rows(station)
        (folder / "half.png").write_bytes(IMAGE)
        wait_for(lambda: files(done))
    assert len(rows(station)) == 1


def test_what_stays_no_image_is_undecided_and_set_aside_with_the_reason(
    station: Station, folder: Path, done: Path
) -> None:
    with watching(station, folder, done):
        (folder / "cut.png").write_bytes(IMAGE[:100])
        wait_for(lambda: len(files(done)) == 2)
    assert files(done) == {"unreadable/cut.png", "unreadable/cut.png.reason.txt"}
    assert "cut off" in (done / "unreadable" / "cut.png.reason.txt").read_text()
    row = station.wait(rows(station)[0]["id"], 5) or {}
    assert row["state"] == "undecided"


def test_names_of_files_that_are_being_written_are_left_alone(
    station: Station, folder: Path, done: Path
) -> None:
    for name in ("a.png.tmp", "b.part", ".hidden.png", "~c.png"):
        (folder / name).write_bytes(IMAGE)
    with watching(station, folder, done):
        time.sleep(3 * SETTLE)
        (folder / "a.png.tmp").rename(folder / "a.png")
        wait_for(lambda: files(done))
    assert files(done) == {"small/a.png"}
    assert len(files(folder)) == 3


def test_a_mark_beside_it_says_that_a_file_is_whole(
    station: Station, folder: Path, done: Path
) -> None:
    watcher = FolderWatcher(station, [Watch(folder, "small", done)], settle=0.3, patience=60)
    with watcher:
        (folder / "cut.png").write_bytes(IMAGE[:100])
        (folder / "cut.png.done").touch()
        wait_for(lambda: "unreadable/cut.png" in files(done))
        wait_for(lambda: not files(folder))


def test_a_name_that_comes_again_with_other_bytes_is_another_part(
    station: Station, folder: Path, done: Path
) -> None:
    with watching(station, folder, done):
        for seed in (1, 2):
            (folder / "a.png").write_bytes(encode_image(texture(seed, 64, 64), ".png"))
            wait_for(lambda: not files(folder))
    assert files(done) == {"small/a.png", "small/a-1.png"}
    assert len({row["image_sha256"] for row in rows(station)}) == 2


def test_nothing_is_judged_twice_after_a_restart_between_record_and_move(
    station: Station, folder: Path, done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a.png").write_bytes(IMAGE)
    with monkeypatch.context() as patch:
        patch.setattr(FolderWatcher, "_move", lambda *_: None)
        with watching(station, folder, done):
            wait_for(lambda: rows(station))
    assert files(folder) == {"a.png"}
    with watching(station, folder, done):
        wait_for(lambda: files(done))
    assert len(rows(station)) == 1
    assert station.reader.counts()[0].received == 1


def test_a_file_that_is_overwritten_before_it_is_moved_is_another_part(
    station: Station, folder: Path, done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = station.submit
    other = encode_image(texture(9, 64, 64), ".png")

    def overwrite(*arguments: object, **options: object) -> object:
        received = submit(*arguments, **options)  # type: ignore[arg-type]
        if len(rows(station)) == 1:
            (folder / "a.png").write_bytes(other)
        return received

    monkeypatch.setattr(station, "submit", overwrite)
    with watching(station, folder, done):
        (folder / "a.png").write_bytes(IMAGE)
        wait_for(lambda: len(rows(station)) == 2 and not files(folder))
    assert len({row["image_sha256"] for row in rows(station)}) == 2
    assert (done / "small" / "a.png").read_bytes() == other


def test_a_share_without_events_is_scanned(station: Station, folder: Path, done: Path) -> None:
    def no_events(*_: object) -> Iterator[object]:
        raise OSError("no events here")
        yield

    with watching(station, folder, done, events=no_events):
        (folder / "a.png").write_bytes(IMAGE)
        wait_for(lambda: files(done))


def test_a_folder_that_vanishes_is_said_and_comes_back(
    station: Station, folder: Path, done: Path
) -> None:
    with watching(station, folder, done):
        folder.rename(folder.with_name("elsewhere"))
        wait_for(lambda: any("No such file" in warning for warning in station.warnings))
        folder.mkdir()
        wait_for(lambda: not any("No such file" in warning for warning in station.warnings))
        (folder / "a.png").write_bytes(IMAGE)
        wait_for(lambda: files(done))


def test_what_a_halted_station_refuses_waits_in_its_folder(
    station: Station, folder: Path, done: Path
) -> None:
    station.halt("local", "lunch")
    with watching(station, folder, done):
        (folder / "a.png").write_bytes(IMAGE)
        time.sleep(3 * SETTLE)
        assert files(folder) == {"a.png"}
        station.release("local", "back")
        wait_for(lambda: files(done))


def test_another_file_system_is_copied_to(
    station: Station, folder: Path, done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, os.strerror(18))

    monkeypatch.setattr(Path, "rename", refuse)
    with watching(station, folder, done):
        (folder / "a.png").write_bytes(IMAGE)
        wait_for(lambda: files(done) and not files(folder))
    assert (done / "small" / "a.png").read_bytes() == IMAGE


def test_files_may_not_come_back_where_they_come_from(folder: Path) -> None:
    with pytest.raises(OptionError, match="which is watched"):
        Watch(folder, "small", folder / "done")
