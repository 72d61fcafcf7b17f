"""What a disk that fills up while a command writes does to its files and to its exit code."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from flawmap.errors import WriteError
from helpers import (
    SMALL,
    full_disk,
    needs_file_size_limit,
    needs_fit,
    run,
    save,
    texture,
    with_defect,
)

pytestmark = needs_file_size_limit

NETWORK = ["--backbone", "test_resnet", "--weights", "random"]
FINETUNE = ["--finetune", "synthetic", "--set", "finetune.epochs=1"]
FINETUNE += ["--set", "finetune.image_size=64", "--set", "finetune.batch_size=4"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "set"
    for seed in range(3):
        save(folder / "train/good" / f"{seed}.png", texture(seed))
        save(folder / "test/good" / f"{seed}.png", texture(20 + seed))
        save(folder / "test/spot" / f"{seed}.png", with_defect(texture(30 + seed), 30, 30))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


FIT = ["fit", "{data}", "-o", "{out}/p.flawmap", "--method", "patchcore", *NETWORK, *SMALL]
COMMANDS = {
    "fit": (FIT, "p.flawmap", 20_000),
    "fine-tuning": ([*FIT, *FINETUNE], "p.flawmap", 20_000),
    "export": (["export", "{part}", "-o", "{out}"], "part.xml", 150_000),
    "threshold": (["threshold", "{out}/p.flawmap", "--false-rejects", "0.3"], "p.flawmap", 20_000),
    "split": (["split", "{data}", "-o", "{out}/split.csv"], "split.csv", 100),
}
"""Commands with a file that is there before, and a limit below the length of what is written."""


@pytest.mark.parametrize("name", COMMANDS)
def test_old_files_stay_whole_and_nothing_was_done(
    name: str, part: Path, data: Path, tmp_path: Path
) -> None:
    if name not in ("threshold", "split"):
        pytest.importorskip("torch")
    command, old, limit = COMMANDS[name]
    out = tmp_path / "out"
    out.mkdir()
    shutil.copyfile(part, out / old)
    words = [word.format(data=data, part=part, out=out) for word in command]
    before = contents(out)
    with full_disk(limit), pytest.raises(WriteError, match="could not be written"):
        run(*words)
    assert contents(out).items() >= before.items()
    assert not [path for path in out.rglob("*") if path.name.endswith(".part")]


@needs_fit
def test_an_export_is_written_whole_or_not_at_all(part: Path, tmp_path: Path) -> None:
    with full_disk(150_000), pytest.raises(WriteError, match="could not be written"):
        run("export", part, "-o", tmp_path)
    assert contents(tmp_path) == {}


def test_an_evaluation_without_its_page_is_not_whole(
    part: Path, data: Path, tmp_path: Path
) -> None:
    with full_disk(40_000):
        code, output = run("evaluate", part, data, "-o", tmp_path)
    assert code == 2
    assert "report.html: could not be written (File too large)" in " ".join(output.split())
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["metrics.csv", "metrics.json", "scores.csv"]


def test_an_evaluation_that_writes_nothing_did_nothing(
    part: Path, data: Path, tmp_path: Path
) -> None:
    with full_disk(10), pytest.raises(WriteError, match="could not be written"):
        run("evaluate", part, data, "-o", tmp_path)
    assert contents(tmp_path) == {}


def test_products_without_their_summary_are_not_whole(
    part: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "products").mkdir()
    shutil.copytree(data, tmp_path / "products" / "part")
    out = tmp_path / "out"
    (out / "part").mkdir(parents=True)
    (out / "metrics.json").mkdir()
    monkeypatch.setattr("flawmap.cli.evaluate.check_file_target", lambda file, clean: None)
    code, output = run("evaluate", part, tmp_path / "products", "-o", out)
    assert code == 2
    assert "metrics.json: could not be written" in " ".join(output.split())
