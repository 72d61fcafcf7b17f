"""`--json` and `--quiet`: what goes to standard output, and what to standard error."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flawmap.cli.common import ExitCode
from helpers import invoke, needs_fit, run, run_json, save, texture, with_defect

STUDY = ["--backbone", "test_resnet", "--weights", "random", "--size", "64"]
TINY = ["--method", "patchcore", *STUDY]


def typed(*arguments: Any, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "flawmap", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False, env=os.environ | environment)


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set with four broken test images."""
    folder = tmp_path_factory.mktemp("output") / "set"
    for seed in range(12):
        save(folder / "train/good" / f"{seed}.png", texture(seed))
    for seed in range(4):
        save(folder / "test/good" / f"{seed}.png", texture(20 + seed))
        save(folder / "test/spot" / f"{seed}.png", with_defect(texture(30 + seed), 30, 30))
        (folder / "test/spot" / f"broken {seed}.png").write_text("no image")
    (folder / "test/spot/note.txt").write_text("none")
    return folder


COMMANDS = {
    "fit": (["fit", "{set}", "-o", "{out}/p.flawmap", *TINY], 0),
    "inspect": (["inspect", "{part}", "{set}/test", "-o", "{out}"], 2),
    "evaluate": (["evaluate", "{part}", "{set}", "-o", "{out}"], 2),
    "threshold": (["threshold", "{part}"], 0),
    "threshold of a budget": (["threshold", "{part}", "--false-rejects", "0.2"], 0),
    "info": (["info", "{part}"], 0),
    "split": (["split", "{set}", "-o", "{out}/split.csv"], 0),
    "methods": (["methods"], 0),
    "options of a method": (["methods", "ddad"], 0),
    "check-cell": (["check-cell", "99.31", "98.82"], 0),
    "export": (["export", "{part}", "-o", "{out}"], 0),
    "figure": (["figure", "5", "--data", "{set}", "-o", "{out}"], 0),
    "table": (["table", "1", "--data", "{set}", "-o", "{out}", *STUDY], 2),
}
KEYS = {
    "fit": {"good_images", "notes", "skipped", "file", "calibration", "errors", "warnings"},
    "evaluate": {"metrics", "by_defect_type", "threshold", "confusion", "errors", "files"},
    "threshold": {"file", "calibration", "budgets"},
    "threshold of a budget": {"file", "calibration", "warnings"},
    "info": {"file", "method_name", "calibration", "versions", "warnings"},
    "split": {"file", "images", "near_duplicates", "good_images", "notes", "skipped"},
    "methods": {"flawmap", "patchcore", "ddad"},
    "options of a method": {"options", "components", "presets", "exportable"},
    "check-cell": {"auroc", "f1", "threshold", "possible", "ratios"},
    "export": {"inspector", "files", "max_relative_difference"},
    "figure": {"files"},
    "table": {"title", "runs", "notes", "files"},
}
WITHOUT_TORCH = {"inspect", "evaluate", "threshold", "threshold of a budget", "info", "split"}


@pytest.fixture
def words(
    name: str, part: Path, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """The command of a name, on a copy of the inspector; the table has one line."""
    shutil.copyfile(part, tmp_path / "part.flawmap")
    if name == "table":
        from flawmap.experiments.study import MethodSetup
        from flawmap.experiments.tables import TABLES, TableLine, TableSpec

        line = TableLine("PatchCore", MethodSetup("patchcore", {"coreset": 0.1}))
        monkeypatch.setitem(TABLES, 1, TableSpec("Methods", (line,)))
    places = {"part": tmp_path / "part.flawmap", "set": labelled, "out": tmp_path / "out"}
    template, _ = COMMANDS[name]
    return [word.format(**places) for word in template]


def of(names: set[str]) -> list[Any]:
    return [
        name if name in WITHOUT_TORCH else pytest.param(name, marks=needs_fit)
        for name in sorted(names)
    ]


@pytest.mark.parametrize("name", of(set(COMMANDS) - {"inspect"}))
def test_json_is_one_document_on_standard_output(name: str, words: list[str]) -> None:
    code, document = run_json(*words)
    assert code == COMMANDS[name][1]
    assert set(document) >= KEYS[name]


@pytest.mark.parametrize("name", of({"fit", "inspect", "evaluate", "threshold", "info", "split"}))
def test_quiet_leaves_errors_and_warnings_alone(name: str, words: list[str]) -> None:
    done = invoke([*words, "--quiet"])
    assert (done.exit_code, done.stdout) == (COMMANDS[name][1], "")
    assert "note:" not in done.stderr
    assert done.stderr.count("broken") == (3 if name in ("inspect", "evaluate") else 0)
    assert ("takes 99 good images" in done.stderr) == (name in ("fit", "info"))


def test_inspect_prints_the_lines_of_its_table(part: Path, labelled: Path, tmp_path: Path) -> None:
    done = typed("inspect", part, labelled / "test", "-o", tmp_path, "--json", FORCE_COLOR="1")
    assert done.returncode == ExitCode.SOME_UNREADABLE
    assert done.stdout == (tmp_path / "results.jsonl").read_bytes()
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["verdict"] for line in lines].count("undecided") == 4
    assert b"1 file is no image" in done.stderr
    assert b"and 1 more like this" in done.stderr


def test_a_document_is_one_in_any_encoding(part: Path, tmp_path: Path) -> None:
    file = tmp_path / "坏é.flawmap"
    shutil.copyfile(part, file)
    done = typed("threshold", file, "--json", PYTHONIOENCODING="cp1252", FORCE_COLOR="1")
    assert json.loads(done.stdout.decode("cp1252"))["file"] == str(file)
    assert "\\u574f\\u00e9.flawmap" in done.stdout.decode("ascii")


def test_the_documents_are_those_of_the_files(part: Path, labelled: Path, tmp_path: Path) -> None:
    _, document = run_json("evaluate", part, labelled, "-o", tmp_path)
    written = json.loads((tmp_path / "metrics.json").read_text("utf-8"))
    assert {key: document[key] for key in written} == written
    assert len(document["errors"]) == 4
    assert document["files"][3] == str(tmp_path / "report.html")


@needs_fit
def test_fit_says_what_info_says(labelled: Path, tmp_path: Path) -> None:
    folder = tmp_path / "good"
    shutil.copytree(labelled / "train/good", folder)
    for number in range(5):
        (folder / f"broken {number}.png").write_text("no image")
    done = invoke(["fit", folder, "-o", tmp_path / "p.flawmap", *TINY, "--json"])
    assert done.exit_code == ExitCode.SOME_UNREADABLE
    document = json.loads(done.stdout)
    _, facts = run_json("info", tmp_path / "p.flawmap")
    assert {key: document[key] for key in facts} == facts
    assert len(document["errors"]) == 5
    assert done.stderr.count("skipped:") == 4
    assert "and 2 more like this" in done.stderr


def test_products_have_an_object_each(part: Path, labelled: Path, tmp_path: Path) -> None:
    for product in ("Black", "White"):
        (tmp_path / "products").mkdir(exist_ok=True)
        (tmp_path / "products" / product).symlink_to(labelled)
    code, document = run_json("split", tmp_path / "products", "-o", tmp_path / "splits")
    assert (code, list(document)) == (0, ["Black", "White"])
    arguments = ["evaluate", part, tmp_path / "products", "-o", tmp_path / "out"]
    code, document = run_json(*arguments)
    assert code == ExitCode.SOME_UNREADABLE
    assert document["White"]["metrics"]["image AUROC"]["value"] == 1.0


def test_an_error_is_one_line_and_no_document(tmp_path: Path) -> None:
    done = typed("info", tmp_path / "nowhere.flawmap", "--json")
    assert (done.returncode, done.stdout) == (ExitCode.NOTHING_DONE, b"")
    assert len(done.stderr.splitlines()) == 1


def test_what_one_command_chose_is_not_the_next_ones() -> None:
    assert run("check-cell", "99.31", "98.82", "--quiet") == (0, "")
    assert "AUROC" in run("check-cell", "99.31", "98.82")[1]
