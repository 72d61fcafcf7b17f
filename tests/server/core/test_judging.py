from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flawmap.errors import RecordError, WriteError
from flawmap.render.encode import encode_image
from flawmap.runtime.inference import Inspection, Runtime
from flawmap.server.core.limits import Limits, Refused
from flawmap.server.core.states import State
from flawmap.server.core.station import Station
from flawmap.server.core.thresholds import FOUR_EYES
from flawmap.server.record.checkpoints import read_checkpoints
from flawmap.server.record.inspections import Received, is_judged
from flawmap.server.record.layout import INSPECTORS
from flawmap.server.record.verify import verify
from flawmap.server.record.writer import RecordWriter, Transaction
from helpers import texture
from server.waiting import wait_for

IMAGES = [encode_image(texture(seed, 64, 64), ".png") for seed in range(12)]


def submit(station: Station, number: int = 0, key: str | None = None) -> Received:
    return station.submit(IMAGES[number], "small", source="rest", actor="a", source_key=key)


def state(station: Station, part: Received) -> str:
    return str((station.reader.inspection(part.id) or {})["state"])


@contextmanager
def all_waiting(station: Station) -> Iterator[list[Received]]:
    """Twelve parts that wait at once, and are judged after the block."""
    station.judge.halt(halted=True)
    parts = [submit(station, number) for number in range(12)]
    yield parts
    station.judge.halt(halted=False)


def test_what_one_part_does_befalls_no_other(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Runtime.inspect_many

    def inspect_many(self: Runtime, images: Any) -> Iterator[Inspection]:
        for image in images:
            if image == IMAGES[4]:
                raise RuntimeError("the device is lost")
            yield from real(self, [image])

    with monkeypatch.context() as patch:
        patch.setattr(Runtime, "inspect_many", inspect_many)
        with all_waiting(station) as parts:
            pass
        wait_for(lambda: station.judge.waiting == 1)
        wait_for(lambda: station.state is State.ERROR)
        assert any("the device is lost" in reason for reason in station.reasons)
        states = [state(station, part) for part in parts]
        assert states[4] == "waiting"
        assert "waiting" not in states[:4] + states[5:]
    wait_for(lambda: state(station, parts[4]) == "good")
    wait_for(lambda: station.state.ready)
    (counts,) = station.reader.counts()
    assert counts.reconciles
    assert counts.received == 12


def test_a_verdict_that_was_written_without_an_answer_is_there_once(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the connection to the database ends between a commit and its answer."""
    real = RecordWriter.submit
    lost: list[Any] = []

    def submit_and_lose(self: RecordWriter, work: Any) -> Future[Any]:
        written = real(self, work)
        if lost or work.__name__ != "write":
            return written
        lost.append(written.result())
        answer: Future[Any] = Future()
        answer.set_exception(RecordError("the server closed the connection"))
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(RecordWriter, "submit", submit_and_lose)
        part = submit(station)
        wait_for(lambda: lost)
        wait_for(lambda: station.state.ready and not station.judge.waiting)
    assert state(station, part) == "good"
    events = [event["kind"] for event in station.reader.events()]
    assert events.count("inspection.judged") == 1


def test_a_part_that_was_recorded_without_an_answer_is_judged(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_and_lose(work: Any) -> Any:
        RecordWriter.run(station.writer, work)
        raise RecordError("the server closed the connection")

    monkeypatch.setattr(station.writer, "run", run_and_lose)
    with pytest.raises(RecordError, match="closed the connection"):
        submit(station, key="1")
    monkeypatch.undo()
    wait_for(lambda: station.state.ready and not station.reader.waiting())
    again = submit(station, key="1")
    assert again.is_repeat
    assert state(station, again) == "good"


def test_what_is_on_record_is_judged_whatever_the_disk_does(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = station.files.store
    calls = []

    def store(data: bytes, category: Any) -> str:
        calls.append(category)
        if len(calls) == 2:
            raise WriteError("No space left on device")
        return real(data, category)

    monkeypatch.setattr(station.files, "store", store)
    with pytest.raises(WriteError):
        submit(station, key="1")
    wait_for(lambda: not station.reader.waiting())
    again = submit(station, key="1")
    assert again.is_repeat
    assert state(station, again) == "good"


def test_nothing_is_taken_in_after_the_end(tmp_path: Path, inspectors: Path) -> None:
    with Station(tmp_path / "data", inspectors=inspectors) as station:
        wait_for(lambda: station.state.ready)
    with pytest.raises(Refused, match="is ending"):
        submit(station)
    with pytest.raises(RecordError, match="closed"):
        station.decide("0" * 32, "good", "why", "ann")


def test_a_clock_that_jumps_is_on_record_and_loses_nothing(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = submit(station)
    real = time.time
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: real() - 7200)
        wait_for(lambda: any("clock jumped" in text for text in station.warnings))
        part = submit(station, 1)
        assert (station.wait(part.id, 10) or {})["state"] == "good"
    assert "clock.jumped" in [event["kind"] for event in station.reader.events()]
    assert part.seq > before.seq
    assert verify(station.database, station.files).is_fine


def test_a_checkpoint_that_the_share_did_not_take_is_written_with_the_next(
    tmp_path: Path, inspectors: Path
) -> None:
    share = tmp_path / "share"
    share.write_text("no folder")
    lines = share / "checkpoints.jsonl"
    folder = tmp_path / "data"
    with Station(folder, inspectors=inspectors, checkpoints=lines) as station:
        wait_for(lambda: station.state.ready)
        with pytest.raises(WriteError):
            station.checkpoint()
        assert station.state.ready
        share.unlink()
        submit(station)
        station.checkpoint()
        assert len(read_checkpoints(lines)) == 2
        report = verify(station.database, station.files, lines, inspectors=folder / INSPECTORS)
        assert report.is_fine, report.findings


def test_an_inspector_of_an_odd_name_leaves_no_station_starting(
    tmp_path: Path, inspectors: Path
) -> None:
    given = tmp_path / "given"
    given.mkdir()
    data = (inspectors / "small.flawmap").read_bytes()
    (given / "a,b.flawmap").write_bytes(data)
    with Station(tmp_path / "data", inspectors=given) as station:
        wait_for(lambda: station.state is State.NOT_READY)
        assert any("no name for a product" in reason for reason in station.reasons)
        station.inspectors.import_file(data, "small", "ann")
        with pytest.raises(Refused, match="no name for a product"):
            submit(station)


def test_a_refused_inspector_stops_no_line_that_has_another(
    tmp_path: Path, inspectors: Path
) -> None:
    given = tmp_path / "given"
    given.mkdir()
    data = (inspectors / "small.flawmap").read_bytes()
    (given / "small.flawmap").write_bytes(data)
    with Station(tmp_path / "data", inspectors=given) as station:
        wait_for(lambda: station.state.ready)
    (given / "small.flawmap").write_bytes(data[:-1] + b"\0")
    with Station(tmp_path / "data", inspectors=given) as station:
        wait_for(lambda: station.state.ready)
        assert any("small.flawmap" in warning for warning in station.warnings)
        assert (station.wait(submit(station).id, 10) or {})["state"] == "good"


def test_an_inspector_that_is_gone_is_asked_for_and_taken(tmp_path: Path, inspectors: Path) -> None:
    folder = tmp_path / "data"
    with Station(folder, inspectors=inspectors) as station:
        wait_for(lambda: station.state.ready)
        file = station.inspectors.path(station.reader.in_force()["small"]["model_sha256"])
    file.unlink()
    data = (inspectors / "small.flawmap").read_bytes()
    with Station(folder) as station:
        wait_for(lambda: station.state is State.NOT_READY)
        assert any(file.name in reason for reason in station.reasons)
        station.inspectors.import_file(data, "small", "ann", activate=True)
        wait_for(lambda: station.state.ready)


def test_images_that_come_twice_fill_no_quota(tmp_path: Path, inspectors: Path) -> None:
    limits = Limits(quota=3 * len(IMAGES[0]), free_bytes=0)
    with Station(tmp_path / "data", inspectors=inspectors, limits=limits) as station:
        wait_for(lambda: station.state.ready)
        for _ in range(6):
            station.wait(submit(station).id, 10)
        (counts,) = station.reader.counts()
        assert counts.received == 6
        assert station.stored_bytes == station.reader.stored_bytes() == len(IMAGES[0])


def test_a_roll_back_changes_the_states_of_thresholds(station: Station) -> None:
    station.writer.run(
        lambda transaction: transaction.append(
            "setting.changed", FOUR_EYES, "ann", {"value": {"on": False}}
        )
    )
    for budget in (0.1, 0.2):
        number = station.thresholds.propose("small", budget, None, "too strict", "ann")
        station.thresholds.approve("small", number, "ann")
        station.thresholds.put_in_force("small", number, "now", "ann")
    station.inspectors.roll_back("small", "too many pass", "ann")
    assert station.reader.in_force()["small"]["threshold_number"] == 1
    states = {row["number"]: row["state"] for row in station.reader.thresholds("small")}
    assert states == {1: "in_force", 2: "superseded"}
    station.inspectors.activate(
        "small", station.reader.in_force()["small"]["model_sha256"], "as fitted", "ann"
    )
    states = {row["number"]: row["state"] for row in station.reader.thresholds("small")}
    assert states == {1: "superseded", 2: "superseded"}
    assert verify(station.database, station.files).is_fine


def test_a_transaction_reads_whether_a_part_has_its_state(station: Station) -> None:
    part = submit(station)
    station.wait(part.id, 10)

    def work(transaction: Transaction) -> tuple[bool, bool]:
        return is_judged(transaction, part.id), is_judged(transaction, "0" * 32)

    assert station.writer.run(work) == (True, False)
