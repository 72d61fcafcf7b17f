from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sqlalchemy", reason="needs flawmap[station]")

from flawmap.errors import FlawmapError, MissingExtra
from flawmap.server.core.station import Station
from flawmap.server.demo import PRODUCT, Demo, defect_of, draw_part
from flawmap.server.record.reader import Query
from small_bundle import save_small_bundle


def write_inspector(folder: Path) -> None:
    (folder / "demo").mkdir(parents=True)
    save_small_bundle(folder / "demo" / f"{PRODUCT}.flawmap")


def until_judged(station: Station, least: int) -> list[dict[str, Any]]:
    until = time.monotonic() + 60
    while True:
        rows = station.reader.search(Query(product=PRODUCT)).items
        judged = [row for row in rows if row["state"] != "waiting"]
        if len(judged) >= least:
            return judged
        assert time.monotonic() < until, station.reasons
        time.sleep(0.02)


def test_parts_come_with_serial_numbers_that_go_on_after_a_restart(tmp_path: Path) -> None:
    write_inspector(tmp_path)
    serials: list[str] = []
    for _ in range(2):
        demo = Demo(tmp_path, every_s=0.01)
        with Station(tmp_path, inspectors=demo.inspectors()) as station:
            with demo.running(station):
                until_judged(station, len(serials) + 3)
            rows = station.reader.search(Query(product=PRODUCT)).items
            assert {row["source"] for row in rows} == {"demo"}
            serials = [row["serial"] for row in rows]
    expected = [f"HS-{number:06}" for number in range(1, len(serials) + 1)]
    assert serials == expected[::-1]


def test_the_line_stands_still_while_the_station_is_halted(tmp_path: Path) -> None:
    write_inspector(tmp_path)
    demo = Demo(tmp_path, every_s=0.01)
    with Station(tmp_path, inspectors=demo.inspectors()) as station, demo.running(station):
        until_judged(station, 1)
        station.halt("test", "lunch")
        time.sleep(0.1)
        (counts,) = station.reader.counts()
        time.sleep(0.2)
        assert station.reader.counts()[0].received == counts.received
        station.release("test", "it is over")
        until_judged(station, counts.received + 1)


def test_one_part_in_four_has_a_defect_and_each_is_drawn_alike() -> None:
    defects = [defect_of(number) for number in range(40)]
    assert sum(map(bool, defects)) == 10
    assert len(set(defects)) > 2
    assert np.array_equal(draw_part(3), draw_part(3))
    assert not np.array_equal(draw_part(3), draw_part(4))


def test_without_what_fits_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"flawmap\[fit\]"):
        Demo(tmp_path).inspectors()


class Fits:
    """Stands for the child processes: each writes an inspector, or fails."""

    def __init__(self, small: Path, returncode: int = 0) -> None:
        self.small = small
        self.returncode = returncode
        self.commands: list[list[str]] = []

    def __call__(self, command: list[str], **options: Any) -> Any:
        self.commands.append(command)
        assert len(list(Path(command[4]).glob("train/good/*.png"))) == 60
        if not self.returncode:
            shutil.copy(self.small, command[command.index("--output") + 1])
        return subprocess.CompletedProcess(command, self.returncode, "", "no memory is left\n")


@pytest.fixture
def fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fits:
    fits = Fits(save_small_bundle(tmp_path / "small.flawmap"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(subprocess, "run", fits)
    return fits


def test_the_inspector_is_fitted_once_and_kept(tmp_path: Path, fits: Fits) -> None:
    for _ in range(2):
        folder = Demo(tmp_path / "data").inspectors()
        assert [file.name for file in folder.iterdir()] == [f"{PRODUCT}.flawmap"]
    (command,) = fits.commands
    assert command[:4] == [sys.executable, "-m", "flawmap", "fit"]
    assert command[command.index("--preset") + 1] == "fast"


def test_a_fit_that_fails_says_why_and_leaves_nothing(tmp_path: Path, fits: Fits) -> None:
    fits.returncode = 1
    with pytest.raises(FlawmapError, match="could not be fitted: no memory is left"):
        Demo(tmp_path / "data").inspectors()
    assert list((tmp_path / "data" / "demo").iterdir()) == []
