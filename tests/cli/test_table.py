from __future__ import annotations

import csv
from functools import partial
from pathlib import Path

import cv2
import pytest

from flawmap.cli.common import ExitCode
from flawmap.errors import OptionError
from flawmap.experiments import tables, timing
from flawmap.experiments.study import MethodSetup
from flawmap.experiments.tables import TableLine
from helpers import run, save, texture, with_defect

TINY = ["--backbone", "test_resnet", "--weights", "random", "--size", "64", "--seeds", "2"]


@pytest.fixture
def part(tmp_path: Path) -> Path:
    """One product with a broken training image."""
    for seed in range(5):
        save(tmp_path / "part/train/good" / f"{seed}.png", texture(seed))
        save(tmp_path / "part/test/good" / f"{seed}.png", texture(10 + seed))
        save(tmp_path / "part/test/spot" / f"{seed}.png", with_defect(texture(20 + seed), 30, 30))
    return tmp_path / "part"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (
        TableLine("PatchCore", MethodSetup("patchcore", {"coreset": 0.1})),
        TableLine("GLASS", MethodSetup("no-such-method")),
        TableLine("+ no such layer", MethodSetup("patchcore", {"layers": (2, 9)}), added=True),
    )
    monkeypatch.setitem(
        tables.TABLES, 1, tables.TableSpec("Methods", lines, tables.TABLES[1].published)
    )


@pytest.mark.usefixtures("small")
def test_a_table_on_the_screen_and_in_files(part: Path, tmp_path: Path) -> None:
    lines = tables.TABLES[1].lines[:2]
    tables.TABLES[1] = tables.TableSpec("Methods", lines, tables.TABLES[1].published)
    code, output = run("table", 1, "--data", part, *TINY, "-o", tmp_path / "out")
    assert code == ExitCode.ALL_GOOD
    assert "Table 1: Methods" in output
    assert "fitted to 5 good images, 10 inspected, 50.00 % of them defective" in " ".join(
        output.split()
    )
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "runs",
        "table1-part.csv",
        "table1-part.md",
        "table1-part.tex",
    }
    markdown = (tmp_path / "out/table1-part.md").read_text()
    assert (
        "`flawmap table 1 --data part --backbone test_resnet --weights random --size 64 --seeds 2"
        in markdown
    )
    with (tmp_path / "out/table1-part.csv").open(encoding="utf-8-sig", newline="") as stream:
        assert [row["seed"] for row in csv.DictReader(stream)] == ["0", "1"]


@pytest.mark.usefixtures("small")
def test_a_line_that_fails_is_shown_and_in_the_exit_code(part: Path, tmp_path: Path) -> None:
    code, output = run("table", 1, "--data", part, *TINY, "-o", tmp_path / "out")
    assert code == ExitCode.SOME_UNREADABLE
    assert "failed" in output
    assert "not here yet" in output
    assert "+ no such layer: test_resnet has no layer 9" in output


@pytest.mark.usefixtures("small")
def test_the_preset_is_in_the_command(part: Path, tmp_path: Path) -> None:
    arguments = ["--data", part, *TINY, "--preset", "smoke", "-o", tmp_path]
    run("table", 1, *arguments)
    markdown = (tmp_path / "table1-part.md").read_text()
    assert "--size 64 --preset smoke --seeds 2" in markdown


def test_times(part: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = partial(timing.measure_times, warm_up=1, num_images=3)
    monkeypatch.setattr(timing, "measure_times", few)
    lines = (TableLine("RP", MethodSetup("patchcore", {"coreset": 0.5})),)
    monkeypatch.setitem(tables.TABLES, 2, tables.TableSpec("Times", lines, timed=True))
    code, output = run("table", 2, "--data", part, *TINY, "-o", tmp_path / "out")
    assert code == ExitCode.ALL_GOOD
    assert "whole ms" in (tmp_path / "out/table2-part.md").read_text()
    assert "Table 2, part" in output


def test_what_cannot_be_asked_for(part: Path) -> None:
    with pytest.raises(OptionError, match="no such folder"):
        run("table", 5, "--data", part / "none")
    with pytest.raises(OptionError, match="--weights random without --backbone"):
        run("table", 5, "--data", part, "--weights", "random")
    with pytest.raises(OptionError, match="no method has a preset 'huge'; use one of "):
        run("table", 5, "--data", part, "--preset", "huge")
    assert run("table", 6)[0] == 2


@pytest.mark.parametrize("wrong", [["--preset", "huge"], ["--size", "9x"]])
def test_settings_that_cannot_be_are_refused_before_data_are_made(
    wrong: list[str], tmp_path: Path
) -> None:
    with pytest.raises(OptionError):
        run("table", 5, "-o", tmp_path / "out", *wrong)
    assert not (tmp_path / "out").exists()


def test_a_figure_on_disk(part: Path, tmp_path: Path) -> None:
    code, output = run("figure", 5, "--data", part, "-o", tmp_path / "out")
    assert code == ExitCode.ALL_GOOD
    assert cv2.imread(str(tmp_path / "out/figure5-part.png")) is not None
    assert "Look at" in output
