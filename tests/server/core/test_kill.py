"""What SIGKILL at a random moment leaves of a station under load, and what the next makes of it.

A process that has imported everything forks one for each run, which saves the seconds of importing.
FLAWMAP_KILL_RUNS says how often a station is killed.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from flawmap.render.encode import encode_image
from flawmap.server.core.station import Station
from flawmap.server.record.checkpoints import CHECKPOINTS
from flawmap.server.record.database import Database
from flawmap.server.record.files import FileStore
from flawmap.server.record.layout import INSPECTORS
from flawmap.server.record.reader import RecordReader
from flawmap.server.record.verify import verify
from helpers import texture, with_defect
from server.waiting import wait_for

RUNS = int(os.environ.get("FLAWMAP_KILL_RUNS", "3"))

pytestmark = [
    pytest.mark.kill,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
]

FORK_STATIONS = """
import itertools, os, sys, threading, time
from pathlib import Path
import flawmap.server.core.station as module
from flawmap.errors import FlawmapError

def load(station, images, run, number, acknowledged):
    for count in itertools.count():
        key = f"{run}-{number}-{count}"
        image = images[count % len(images)]
        try:
            part = station.submit(image, "small", source="rest", actor="a", source_key=key)
        except module.Refused:
            time.sleep(0.01)
            continue
        os.write(acknowledged, f"{key} {part.id}\\n".encode())

def run_station(folder, run):
    images = [file.read_bytes() for file in sorted((folder / "images").iterdir())]
    acknowledged = os.open(folder / "acknowledged", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with module.Station(folder / "data", inspectors=folder / "inspectors") as station:
        while not station.state.ready:
            time.sleep(0.01)
        sys.stdout.write("ready\\n")
        sys.stdout.flush()
        for number in range(3):
            arguments = station, images, run, number, acknowledged
            threading.Thread(target=load, args=arguments, daemon=True).start()
        while True:
            station.checkpoint()
            time.sleep(0.05)

for line in sys.stdin:
    folder, run = line.split()
    child = os.fork()
    if not child:
        try:
            run_station(Path(folder), run)
        finally:
            os._exit(1)
    sys.stdout.write(f"{child}\\n")
    sys.stdout.flush()
    sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\\n")
    sys.stdout.flush()
"""


@pytest.fixture
def folder(tmp_path: Path, inspectors: Path) -> Path:
    """Inspectors and images, and room for the data; no path of it has a blank."""
    (tmp_path / "inspectors").symlink_to(inspectors)
    (tmp_path / "images").mkdir()
    for seed in range(20):
        image = texture(seed, 64, 64)
        image = with_defect(image, 20, 20) if seed % 3 == 0 else image
        data = encode_image(image, ".png")
        (tmp_path / "images" / f"{seed:02}.png").write_bytes(data[:99] if seed == 7 else data)
    return tmp_path


@pytest.fixture
def stations() -> Iterator[subprocess.Popen[str]]:
    """Runs a station for each line that it is given, one after the other."""
    command = [sys.executable, "-c", FORK_STATIONS]
    with subprocess.Popen(
        command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        yield process
        assert process.stdin
        process.stdin.close()


def kill_one(stations: subprocess.Popen[str], folder: Path, run: int) -> None:
    """Start a station, and kill it at a moment that differs from run to run."""
    assert stations.stdin
    assert stations.stdout
    stations.stdin.write(f"{folder} {run}\n")
    stations.stdin.flush()
    child = int(stations.stdout.readline())
    moment = random.Random(run)
    try:
        if run % 4 == 3:  # while it starts, with what the one before left waiting
            time.sleep(moment.uniform(0, 1.0))
        else:
            assert stations.stdout.readline() == "ready\n"
            time.sleep(moment.uniform(0.05, 1.0))
    finally:
        os.kill(child, 9)
    line = stations.stdout.readline()
    assert (stations.stdout.readline() if line == "ready\n" else line) == "-9\n"


def acknowledged(folder: Path) -> dict[str, str]:
    """Ids of the parts that were acknowledged, by their keys."""
    file = folder / "acknowledged"
    lines = file.read_text().splitlines() if file.exists() else []
    pairs = [line.split() for line in lines]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def check(folder: Path) -> None:
    """All that was acknowledged is there once, and the record fits together."""
    data = folder / "data"
    with closing(Database.in_folder(data)) as database:
        report = verify(
            database, FileStore(data / "files"), data / CHECKPOINTS, inspectors=data / INSPECTORS
        )
        assert report.is_fine, report.findings
        reader = RecordReader(database)
        for counts in reader.counts():
            assert counts.reconciles, counts
        for key, identity in acknowledged(folder).items():
            row = reader.inspection(identity)
            assert row is not None, f"{key} was acknowledged and is gone"
            assert row["source_key"] == key


def test_a_killed_station_keeps_what_it_acknowledged(
    stations: subprocess.Popen[str], folder: Path
) -> None:
    for run in range(RUNS):
        kill_one(stations, folder, run)
        check(folder)
    parts = acknowledged(folder)
    assert len(parts) > RUNS  # there was a load
    with Station(folder / "data", inspectors=folder / "inspectors") as station:
        wait_for(lambda: station.state.ready and not station.judge.waiting)
        (counts,) = station.reader.counts()
        assert counts.waiting == counts.skipped == 0
        assert counts.good
        assert counts.reject
        assert counts.received >= len(parts)
        states = {(station.reader.inspection(part) or {})["state"] for part in parts.values()}
        assert states <= {"good", "reject", "undecided"}
        # Whoever had no answer sends the part again, and it is there once.
        key, identity = next(iter(parts.items()))
        first = sorted((folder / "images").iterdir())[int(key.split("-")[-1]) % 20].read_bytes()
        again = station.submit(first, "small", source="rest", actor="a", source_key=key)
        assert (again.id, again.is_repeat) == (identity, True)
    check(folder)
