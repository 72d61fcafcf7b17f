from __future__ import annotations

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers import begin_as_in_a_terminal, save, texture

SIGNALS = [] if sys.platform == "win32" else ["SIGINT", "SIGTERM", "SIGHUP"]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no such signals")


def begin(*arguments: Any, **settings: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "flawmap", *map(str, arguments)]
    return begin_as_in_a_terminal(command, **settings)


def rows_of(folder: Path) -> list[str]:
    """The images of both tables, which are the same."""
    lines = (folder / "results.jsonl").read_text("utf-8").splitlines()
    images = [json.loads(line)["image"] for line in lines]
    with (folder / "results.csv").open(encoding="utf-8-sig", newline="") as stream:
        assert [row["image"] for row in csv.DictReader(stream)] == images
    return images


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    image = save(folder / "000.png", texture(1))
    for number in range(1, 2000):
        shutil.copyfile(image, folder / f"{number:03}.png")
    return folder


@pytest.mark.parametrize("name", SIGNALS)
def test_inspect_keeps_all_that_it_inspected(
    name: str, part: Path, many: Path, tmp_path: Path
) -> None:
    results = tmp_path / "out"
    with begin("inspect", part, many, "-o", results, "--report") as process:
        assert process.stdout
        assert process.stderr
        printed = [process.stdout.readline() for _ in range(40)]
        process.send_signal(getattr(signal, name))
        printed += process.stdout.read().splitlines()
        said = process.stderr.read().splitlines()
    number = getattr(signal, name)
    assert process.returncode == 128 + number
    images = rows_of(results)
    assert [line.split()[-1] for line in printed] == images[: len(printed)]
    assert len(images) <= len(printed) + 1 < 2000
    assert f"stopped after {len(images)} of 2000 images" in said[0]
    assert f"stopped by {name}" in said[1]
    assert len(said) == 2
    overlays = sorted(path.name for path in (results / "overlays").iterdir())
    assert overlays == [f"{Path(image).name}.png" for image in images]
    page = (results / "report.html").read_text("utf-8")
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
    assert len(json.loads(data)["scores"]) == len(images)
    assert sorted(path.name for path in results.iterdir()) == [
        "overlays",
        "report.html",
        "results.csv",
        "results.jsonl",
    ]


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_evaluate_says_that_it_wrote_nothing(part: Path, many: Path, tmp_path: Path) -> None:
    data = tmp_path / "data" / "test"
    data.mkdir(parents=True)
    (data / "good").symlink_to(many)
    with begin("evaluate", part, tmp_path / "data", "-o", tmp_path / "out") as process:
        assert process.stderr
        wait_for(lambda: _has_loaded(process.pid, "openvino"))
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        said = process.stderr.read()
    assert process.returncode == 128 + signal.SIGTERM
    assert said == "flawmap: stopped by SIGTERM; nothing was written\n"
    assert not (tmp_path / "out").exists()


def _has_loaded(pid: int, library: str) -> bool:
    maps = Path(f"/proc/{pid}/maps")
    return not maps.exists() or library in maps.read_text()


def test_an_ignored_signal_stays_ignored(part: Path, many: Path, tmp_path: Path) -> None:
    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    few = sorted(many.iterdir())[:60]
    with begin("inspect", part, *few, "-o", tmp_path, preexec_fn=ignore) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        assert "60 good" in process.stdout.read()
    assert process.returncode == 0


SLOW_END = """
import os, signal, sys, time
from flawmap.cli import main
from flawmap.report import page
def write_page(file, report):
    print("writing", flush=True)
    time.sleep(60)
page.write_page = write_page
sys.argv = ["flawmap", *sys.argv[1:]]
main()
"""


def test_a_second_signal_ends_what_the_first_one_left_to_do(
    part: Path, many: Path, tmp_path: Path
) -> None:
    arguments = ["inspect", part, many, "-o", tmp_path, "--report"]
    command = [sys.executable, "-c", SLOW_END, *map(str, arguments)]
    with begin_as_in_a_terminal(command) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)  # GNU timeout sends each signal twice, and means it once
        while process.stdout.readline() != "writing\n":
            pass
        time.sleep(0.6)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)  # The page would take 60.
    assert process.returncode == 128 + signal.SIGINT
