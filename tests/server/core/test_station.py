from __future__ import annotations

import hashlib
import struct
import zlib
from pathlib import Path

import pytest
from sqlalchemy import text

from flawmap.errors import OptionError, RecordError
from flawmap.render.encode import encode_image
from flawmap.server.core.inspectors import InspectorRefused
from flawmap.server.core.limits import Limits, Refused
from flawmap.server.core.states import State
from flawmap.server.core.station import Station
from flawmap.server.core.thresholds import FOUR_EYES
from flawmap.server.record.database import Database
from flawmap.server.record.inspections import KeyReused, Received, UnknownProduct
from flawmap.server.record.reader import Query
from helpers import texture, with_defect
from server.waiting import wait_for
from small_bundle import save_small_bundle

IMAGE = encode_image(texture(1, 64, 64), ".png")
OTHER = encode_image(texture(2, 64, 64), ".png")
DEFECT = encode_image(with_defect(texture(3, 64, 64), 20, 20), ".png")


def submit(station: Station, data: bytes = IMAGE, key: str | None = None) -> Received:
    return station.submit(data, "small", source="rest", actor="local", source_key=key)


def reconciles(station: Station) -> bool:
    return all(counts.reconciles for counts in station.reader.counts())


def test_a_part_gets_a_verdict_with_all_that_led_to_it(station: Station) -> None:
    row = station.wait(submit(station).id, 10)
    assert row is not None
    assert row["state"] == "good"
    assert row["image_sha256"] == hashlib.sha256(IMAGE).hexdigest()
    assert station.files.read(row["image_sha256"], "image") == IMAGE
    (inspector,) = station.reader.inspectors()
    for name in ("model_sha256", "scorer_sha256", "precision", "golden_difference"):
        assert row[name] == inspector[name]
    assert row["threshold"] == pytest.approx(inspector["threshold"])
    assert row["p_value"] > 0
    assert reconciles(station)


def test_a_reject_has_an_overlay_and_what_is_no_image_is_undecided(station: Station) -> None:
    rejected = station.wait(submit(station, DEFECT).id, 10)
    assert rejected is not None
    assert rejected["state"] == "reject"
    assert station.files.read(rejected["overlay_sha256"], "overlay").startswith(b"\x89PNG")
    undecided = station.wait(submit(station, IMAGE[:99]).id, 10)
    assert undecided is not None
    assert undecided["state"] == "undecided"
    assert "cut off" in undecided["error"]
    assert reconciles(station)


def test_an_image_bomb_is_undecided_and_takes_no_room(station: Station) -> None:
    """A PNG of a few bytes that says it has 10 gigapixels."""
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b"")]
    bomb = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    row = station.wait(submit(station, bomb).id, 10) or {}
    assert row["state"] == "undecided"
    assert "too many" in row["error"]


def test_the_same_key_is_the_same_part(station: Station) -> None:
    first, again = submit(station, key="a"), submit(station, key="a")
    assert (first.id, again.is_repeat) == (again.id, True)
    with pytest.raises(KeyReused, match="another image"):
        submit(station, OTHER, key="a")
    assert station.reader.counts()[0].received == 1


def test_what_is_not_accepted_is_refused_and_leaves_nothing(
    tmp_path: Path, inspectors: Path
) -> None:
    limits = Limits(image_bytes=len(IMAGE), waiting=2)
    with Station(tmp_path / "data", inspectors=inspectors, limits=limits) as station:
        with pytest.raises(Refused, match="starting") as early:
            submit(station)
        assert early.value.status == 503
        wait_for(lambda: station.state.ready)
        with pytest.raises(Refused, match="MB") as large:
            submit(station, IMAGE + b"0")
        assert large.value.status == 413
        with pytest.raises(UnknownProduct, match="'other'"):
            station.submit(IMAGE, "other", source="rest", actor="local")
        station.judge.halt(halted=True)
        for _ in range(2):
            submit(station)
        with pytest.raises(Refused, match="2 parts wait") as full:
            submit(station)
        assert full.value.status == 503
        assert station.reader.counts()[0].received == 2
        station.judge.halt(halted=False)
        wait_for(lambda: not station.judge.waiting)
        assert reconciles(station)


def test_a_quota_warns_and_refuses(tmp_path: Path, inspectors: Path) -> None:
    images = [encode_image(texture(seed, 64, 64), ".bmp") for seed in range(4)]
    limits = Limits(quota=3 * len(images[0]))
    with Station(tmp_path / "data", inspectors=inspectors, limits=limits) as station:
        wait_for(lambda: station.state.ready)
        for image in images[:3]:
            submit(station, image)
        wait_for(lambda: station.state is State.NOT_READY)
        assert any("flawmap record retain" in reason for reason in station.reasons)
        assert any("100% of the quota" in warning for warning in station.warnings)
        with pytest.raises(Refused, match="the quota is") as full:
            submit(station, images[3])
        assert full.value.status == 503
        wait_for(lambda: not station.judge.waiting)
        assert station.reader.counts()[0].received == 3
        assert reconciles(station)


def test_parts_that_wait_are_judged_after_the_next_start(tmp_path: Path, inspectors: Path) -> None:
    with Station(tmp_path / "data", inspectors=inspectors) as station:
        wait_for(lambda: station.state.ready)
        station.judge.halt(halted=True)
        parts = [submit(station).id for _ in range(5)]
        assert station.reader.counts()[0].waiting == 5
    with Station(tmp_path / "data") as station:
        rows = [station.wait(part, 20) for part in parts]
        assert [row and row["state"] for row in rows] == ["good"] * 5
        assert reconciles(station)


def test_a_swap_loses_no_part_and_each_names_what_judged_it(
    station: Station, tmp_path: Path
) -> None:
    before = station.reader.in_force()["small"]["model_sha256"]
    other = save_small_bundle(tmp_path / "other.flawmap", budget=0.2).read_bytes()
    station.judge.halt(halted=True)
    old = [submit(station).id for _ in range(3)]
    after = station.inspectors.import_file(other, "small", "local", activate=True)
    new = [submit(station).id for _ in range(3)]
    station.judge.halt(halted=False)
    rows = [station.wait(part, 10) or {} for part in (*old, *new)]
    assert [row["model_sha256"] for row in rows] == [before] * 3 + [after] * 3
    assert [row["activation_number"] for row in rows] == [1] * 3 + [2] * 3
    assert station.inspectors.roll_back("small", "was better", "local") == 3
    row = station.wait(submit(station).id, 10) or {}
    assert row["model_sha256"] == before
    assert reconciles(station)


def test_a_damaged_inspector_is_refused_and_the_former_stays(station: Station) -> None:
    data = bytearray(next(station.inspectors.folder.iterdir()).read_bytes())
    data[-10] ^= 1
    with pytest.raises(InspectorRefused, match="damaged"):
        station.inspectors.import_file(bytes(data), "small", "local")
    kinds = [event["kind"] for event in station.reader.events()]
    assert kinds.count("inspector.refused") == 1
    assert station.reader.in_force()["small"]["number"] == 1
    assert len(list(station.inspectors.folder.iterdir())) == 1


@pytest.mark.parametrize("product", ["", "../etc", ".hidden", "a/b", "a\nb", "x" * 101])
def test_a_product_has_a_name_that_a_file_may_have(station: Station, product: str) -> None:
    with pytest.raises(OptionError, match="no name for a product"):
        station.inspectors.import_file(b"", product, "local")


def test_a_threshold_takes_two_persons(station: Station) -> None:
    thresholds = station.thresholds
    number = thresholds.propose("small", 0.2, None, "too many rejects", "ann")
    with pytest.raises(OptionError, match="another person approves"):
        thresholds.approve("small", number, "ann")
    with pytest.raises(OptionError, match="is proposed, not approved"):
        thresholds.put_in_force("small", number, "now", "bob")
    thresholds.approve("small", number, "bob")
    before = station.wait(submit(station).id, 10) or {}
    assert thresholds.put_in_force("small", number, "now", "bob") == 2
    after = station.wait(submit(station).id, 10) or {}
    (proposed,) = station.reader.thresholds("small")
    assert after["threshold"] == pytest.approx(proposed["score"])
    assert after["threshold"] < before["threshold"]
    assert (proposed["state"], proposed["closed_by"]) == ("in_force", "bob")


def test_one_person_may_do_both_where_that_is_on_record(station: Station) -> None:
    rule = {"value": {"on": False}}
    station.writer.run(lambda t: t.append("setting.changed", FOUR_EYES, "ann", rule))
    number = station.thresholds.propose("small", 0.2, None, "why", "ann")
    station.thresholds.approve("small", number, "ann")
    station.thresholds.put_in_force("small", number, "now", "ann")
    second = station.thresholds.propose("small", 0.1, None, "why", "ann")
    station.thresholds.approve("small", second, "ann")
    station.thresholds.put_in_force("small", second, "now", "ann")
    states = [row["state"] for row in station.reader.thresholds("small")]
    assert states == ["in_force", "superseded"]


def test_a_budget_that_takes_more_images_is_refused(station: Station) -> None:
    with pytest.raises(OptionError, match="takes 999 good images"):
        station.thresholds.propose("small", 0.001, None, "why", "ann")


def test_a_person_decides_beside_the_verdict(station: Station) -> None:
    part = submit(station, DEFECT).id
    row = station.wait(part, 10) or {}
    station.decide(part, "good", "only dust", "ann")
    station.decide(part, "reject", "no, a crack", "bob")
    said = [(one["person"], one["verdict"]) for one in station.reader.decisions(part)]
    assert said == [("ann", "good"), ("bob", "reject")]
    assert (station.wait(part, 0) or {})["state"] == row["state"] == "reject"
    with pytest.raises(OptionError, match="without a reason"):
        station.decide(part, "good", " ", "ann")


def test_a_verdict_that_cannot_be_written_keeps_the_part_waiting(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full after a part was acknowledged loses nothing."""
    store = station.files.store

    def full(data: bytes, category: str) -> str:
        if category == "overlay":
            raise RecordError("No space left on device")
        return store(data, "image")

    with monkeypatch.context() as patch:
        patch.setattr(station.files, "store", full)
        part = submit(station, DEFECT).id
        wait_for(lambda: station.state is State.ERROR)
        assert any("No space left" in reason for reason in station.reasons)
        assert (station.wait(part, 0) or {})["state"] == "waiting"
        assert reconciles(station)
    wait_for(lambda: (station.wait(part, 1) or {})["state"] == "reject")
    wait_for(lambda: station.state.ready)


def test_parts_that_cannot_be_judged_are_skipped_for_a_reason(station: Station) -> None:
    station.inspectors.path(station.reader.in_force()["small"]["model_sha256"]).unlink()
    station.inspectors._runtimes.clear()
    part = submit(station).id
    wait_for(lambda: station.state is State.ERROR)
    wait_for(lambda: station.skip_waiting("the inspector is gone", "ann"))
    row = station.wait(part, 5) or {}
    assert (row["state"], row["error"]) == ("skipped", "the inspector is gone")
    assert reconciles(station)


def test_two_stations_never_share_a_folder(station: Station) -> None:
    with pytest.raises(RecordError, match="another station has this data folder"):
        Station(station.folder)


def test_a_data_folder_of_a_newer_version_is_refused(tmp_path: Path, inspectors: Path) -> None:
    with Station(tmp_path / "data", inspectors=inspectors):
        pass
    database = Database.in_folder(tmp_path / "data")
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '99'"))
    database.close()
    with pytest.raises(RecordError, match="written by a newer flawmap"):
        Station(tmp_path / "data")
    with pytest.raises(RecordError, match="newer flawmap"):  # and the folder is free again
        Station(tmp_path / "data")


def test_search_finds_by_each_field_and_pages(station: Station) -> None:
    for number in range(7):
        part = station.submit(
            IMAGE, "small", source="rest", actor="a", serial=f"S{number}", lot=f"L{number % 2}"
        )
        station.wait(part.id, 10)
    find = station.reader.search
    assert [row["serial"] for row in find(Query(serial="S3")).items] == ["S3"]
    assert [row["serial"] for row in find(Query(lot="L1")).items] == ["S5", "S3", "S1"]
    assert not find(Query(state="reject")).items
    first = find(Query(product="small", limit=4))
    second = find(Query(product="small", limit=4, cursor=first.next_cursor))
    serials = [row["serial"] for row in (*first.items, *second.items)]
    assert serials == [f"S{number}" for number in reversed(range(7))]
    assert second.next_cursor is None
    assert not find(Query(serial="S3' OR '1'='1")).items
