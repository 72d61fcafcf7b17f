"""What `--dry-run` says, and that it changes nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from flawmap.cli.common import ExitCode
from flawmap.errors import DatasetError, OptionError, WriteError
from helpers import needs_fit, run, run_json, save, texture, with_defect

TINY = ["--method", "patchcore", "--backbone", "test_resnet", "--weights", "random", "--size", "64"]
STUDY = ["--backbone", "test_resnet", "--weights", "random", "--size", "64", "--seeds", "1"]

Tree = dict[str, tuple[bytes | None, int]]


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    for seed in range(12):
        save(tmp_path / "set/train/good" / f"{seed}.png", texture(seed))
    for seed in range(4):
        save(tmp_path / "set/test/good" / f"{seed}.png", texture(20 + seed))
        save(tmp_path / "set/test/spot" / f"{seed}.png", with_defect(texture(30 + seed), 30, 30))
    return tmp_path / "set"


def tree(folder: Path) -> Tree:
    """All that is in a folder: the bytes of files, and when each thing was changed."""
    return {
        str(path.relative_to(folder)): (
            path.read_bytes() if path.is_file() else None,
            path.lstat().st_mtime_ns,
        )
        for path in [folder, *folder.rglob("*")]
    }


def plan(*arguments: Any, code: int = ExitCode.ALL_GOOD) -> dict[str, Any]:
    """The JSON document of a dry run."""
    actual, document = run_json(*arguments, "--dry-run")
    assert actual == code
    assert document["dry_run"]
    assert isinstance(document, dict)
    return document


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["fit", "{set}", "-o", "{out}/p.flawmap", *TINY], marks=needs_fit),
        pytest.param(
            ["fit", "{set}", "-o", "{out}/p.flawmap", "--finetune", "synthetic"], marks=needs_fit
        ),
        ["split", "{set}", "-o", "{out}/split.csv"],
        ["inspect", "{part}", "{set}/test", "-o", "{out}", "--report"],
        ["evaluate", "{part}", "{set}", "-o", "{out}"],
        pytest.param(["table", "2", "--data", "{set}", "-o", "{out}", *STUDY], marks=needs_fit),
        pytest.param(["table", "1", "--data", "heatsinks", "-o", "{out}"], marks=needs_fit),
    ],
)
@pytest.mark.parametrize("is_there", [True, False])
def test_it_leaves_all_as_it_was(
    command: list[str], is_there: bool, part: Path, labelled: Path, tmp_path: Path
) -> None:
    """Also what a killed run left, which the command itself would remove."""
    out = tmp_path / "out"
    if is_there:
        for name in ("p.flawmap", "split.csv", "results.csv", "report.html", "old.txt"):
            save(out / "overlays" / "a.png.png", texture(1))
            (out / name).write_text("old")
            (out / f".{name}.abc.flawmap.part").write_text("left")
            os.utime(out / f".{name}.abc.flawmap.part", (0, 0))
    before = tree(tmp_path)
    words = [word.format(part=part, set=labelled, out=out) for word in command]
    code, printed = run(*words, "--dry-run")
    assert code == ExitCode.ALL_GOOD, printed
    assert "Would read" in printed
    assert tree(tmp_path) == before


@needs_fit
def test_fit_says_what_it_would_fit_to_and_with(labelled: Path, tmp_path: Path) -> None:
    (tmp_path / "p.flawmap").write_text("old")
    (labelled / "train/good/note.txt").write_text("none")
    arguments = ["fit", labelled, "-o", tmp_path / "p.flawmap", *TINY, "--false-rejects", "0.05"]
    document = plan(*arguments)
    assert document["reads"] == {
        "source": str(labelled),
        "images": {"train": {"good": 12}},
        "unused": {"test": {"good": 4, "spot": 4}},
    }
    assert document["good_images"] == {"train/good": 12}
    assert "1 file is no image" in " ".join(document["notes"])
    settings = document["settings"]
    assert (settings["method"], settings["preset"]) == ("patchcore", None)
    assert (settings["size"], settings["backbone"]) == ([64, 64], "test_resnet")
    assert (settings["false_rejects"], settings["images_needed"]) == (0.05, 19)
    assert (settings["calibration"], settings["images_missing"]) == ("leave-out", 7)
    assert document["writes"] == [{"file": str(tmp_path / "p.flawmap"), "replaces": True}]
    _, printed = run(*arguments, "--dry-run")
    assert f"Would read {labelled}: train: good (12)" in printed
    assert "Would not read test: good (4), spot (4)" in printed
    assert "p.flawmap (in place of the one there)" in printed


@needs_fit
def test_fit_names_the_preset_and_the_size_that_images_will_choose(labelled: Path) -> None:
    settings = plan("fit", labelled)["settings"]
    assert (settings["method"], settings["preset"]) == ("flawmap", "balanced")
    assert (settings["size"], settings["pixels"]) == ("auto", 320)


@needs_fit
def test_every_product_has_its_file(labelled: Path, tmp_path: Path) -> None:
    for product in ("Black", "White"):
        (tmp_path / "products" / product).mkdir(parents=True)
        (tmp_path / "products" / product / "train").symlink_to(labelled / "train")
    arguments = ["fit", tmp_path / "products", "-o", tmp_path / "parts", *TINY]
    _, document = run_json(*arguments, "--dry-run")
    assert list(document) == ["Black", "White"]
    assert document["White"]["writes"][0]["file"] == str(tmp_path / "parts" / "White.flawmap")


@needs_fit
@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--backbone", "no_such_network"], OptionError),
        (["--layers", "2,9"], OptionError),
        (["--method", "no-such"], OptionError),
        (["--false-rejects", "2"], OptionError),
        (["--calibration-fraction", "0.95"], DatasetError),
        (["-o", "{set}/train"], None),
        (["-o", "{set}/train/good/0.png/p.flawmap"], WriteError),
    ],
)
def test_what_cannot_be_is_the_same_error(
    words: list[str], error: type[Exception] | None, labelled: Path
) -> None:
    arguments = ["fit", labelled, *(word.format(set=labelled) for word in words)]
    if error is None:
        assert run(*arguments, "--dry-run")[0] == ExitCode.ALL_GOOD
        return
    with pytest.raises(error) as dry:
        run(*arguments, "--dry-run")
    with pytest.raises(error) as real:
        run(*arguments)
    assert str(dry.value) == str(real.value)


@needs_fit
def test_files_that_cannot_be_read_are_said(labelled: Path) -> None:
    (labelled / "train/good/0.png").write_bytes(b"")
    document = plan("fit", labelled, *TINY, code=ExitCode.SOME_UNREADABLE)
    assert document["skipped"] == [f"{labelled}/train/good/0.png: the file is empty"]
    for file in (labelled / "train/good").iterdir():
        file.write_bytes(b"")
    with pytest.raises(DatasetError, match="0 of 12 images can be used"):
        run("fit", labelled, *TINY, "--dry-run")


def test_inspect_says_what_it_would_replace(part: Path, labelled: Path, tmp_path: Path) -> None:
    new, out = labelled / "test", tmp_path / "out"
    assert run("inspect", part, new, "-o", out)[0] == ExitCode.SOME_REJECTED
    missing, empty = tmp_path / "missing.png", tmp_path / "empty.png"
    empty.write_bytes(b"")
    arguments = ["inspect", part, new, missing, empty, "-o", out]
    document = plan(*arguments, code=ExitCode.SOME_UNREADABLE)
    folders = {str(new / name): {"images": 4} for name in ("good", "spot")}
    assert document["reads"]["images"] == folders
    assert [line.partition(": ")[0] for line in document["skipped"]] == [str(missing), str(empty)]
    assert document["settings"]["size"] == [64, 64]
    replaced = {Path(file["file"]).name: file["replaces"] for file in document["writes"]}
    assert replaced == {"results.csv": True, "results.jsonl": True, "overlays": True}
    assert len(document["removes"]) == 8
    assert plan("inspect", part, missing, code=ExitCode.NOTHING_DONE)["writes"]


def test_evaluate_says_what_it_would_inspect(part: Path, labelled: Path, tmp_path: Path) -> None:
    document = plan("evaluate", part, labelled, "-o", tmp_path / "out")
    assert document["reads"]["images"] == {"test": {"good": 4, "spot": 4}}
    assert document["settings"]["method"] == "flawmap"
    assert [Path(file["file"]).name for file in document["writes"]] == [
        "scores.csv",
        "metrics.json",
        "metrics.csv",
        "report.html",
    ]
    with pytest.raises(OptionError, match="int8"):
        run("evaluate", part, labelled, "--precision", "int8", "--dry-run")


def test_split_says_what_goes_where(labelled: Path, tmp_path: Path) -> None:
    document = plan("split", labelled, "-o", tmp_path / "split.csv")
    _, real = run_json("split", labelled, "-o", tmp_path / "split.csv")
    assert document["images"] == real["images"]
    assert document["settings"]["seed"] == 0
    assert document["writes"] == [{"file": str(tmp_path / "split.csv"), "replaces": False}]


@needs_fit
def test_table_says_which_runs_are_there(
    labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flawmap.experiments import tables
    from flawmap.experiments.study import MethodSetup
    from flawmap.experiments.tables import TableLine, TableSpec

    first = TableLine("PatchCore", MethodSetup("patchcore", {"coreset": 0.1}))
    second = TableLine("SPADE", MethodSetup("spade"))
    third = TableLine("no such layer", MethodSetup("patchcore", {"layers": (2, 9)}))
    monkeypatch.setitem(tables.TABLES, 1, TableSpec("Methods", (first,)))
    arguments = ["table", 1, "--data", labelled, "-o", tmp_path / "out", *STUDY]
    assert run(*arguments)[0] == ExitCode.ALL_GOOD
    monkeypatch.setitem(tables.TABLES, 1, TableSpec("Methods", (first, second, third)))
    document = plan(*arguments, code=ExitCode.SOME_UNREADABLE)
    assert {run_["line"]: run_["state"] for run_ in document["runs"]} == {
        "PatchCore": "there",
        "SPADE": "to measure",
        "no such layer": "impossible",
    }
    assert all(file["replaces"] for file in document["writes"])
