"""Where each command writes: places that cannot be are refused before the work."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from flawmap.cli import fit as fit_module
from flawmap.cli.products import run_per_product
from flawmap.errors import WriteError
from helpers import SMALL, run, save, texture, with_defect

PATCHCORE = ["--method", "patchcore", "--backbone", "test_resnet", "--weights", "random", *SMALL]


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    for seed in range(5):
        save(tmp_path / "set/train/good" / f"{seed}.png", texture(seed))
        save(tmp_path / "set/test/good" / f"{seed}.png", texture(10 + seed))
        save(tmp_path / "set/test/spot" / f"{seed}.png", with_defect(texture(20 + seed), 30, 30))
    return tmp_path / "set"


@pytest.mark.parametrize("output", ["folder", "new folder/", "folder/", "link"])
def test_a_folder_means_a_file_in_it(output: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    if sys.platform != "win32":
        (tmp_path / "link").symlink_to("folder")
    written: list[Path] = []

    def job(source: Path, file: Path) -> int:
        written.append(file)
        return 0

    target = f"{tmp_path}/{output}"
    run_per_product(tmp_path, target, job, file="part.flawmap", folder="parts")
    if output != "link" or sys.platform != "win32":
        assert written == [Path(target) / "part.flawmap"]


def test_fit_and_split_write_into_a_folder(labelled: Path, tmp_path: Path) -> None:
    code, printed = run("fit", labelled, "-o", f"{tmp_path}/new/", *PATCHCORE)
    assert code == 0, printed
    assert (tmp_path / "new" / "part.flawmap").is_file()
    code, printed = run("split", labelled, "-o", tmp_path / "new")
    assert (tmp_path / "new" / "split.csv").is_file()


def protect(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    file.chmod(0o444)
    return file


@pytest.mark.parametrize(
    ("command", "file"),
    [
        (["fit", "{set}", "-o", "{out}/p.flawmap"], "p.flawmap"),
        (["split", "{set}", "-o", "{out}/p.csv"], "p.csv"),
        (["inspect", "{part}", "{set}", "-o", "{out}"], "results.jsonl"),
        (["inspect", "{part}", "{set}", "-o", "{out}"], "report.html"),
        (["evaluate", "{part}", "{set}", "-o", "{out}"], "scores.csv"),
        (["export", "{part}", "-o", "{out}"], "part.bin"),
        (["threshold", "{out}/p.flawmap", "--false-rejects", "0.1"], "p.flawmap"),
        (["table", "1", "--data", "{set}", "-o", "{out}"], "table1-set.tex"),
        (["table", "4", "--data", "{set}", "-o", "{out}"], "table4-set.csv"),
        (["figure", "6", "--data", "{set}", "-o", "{out}"], "figure6-set-calibrated.png"),
    ],
)
def test_a_protected_file_is_refused_before_the_work(
    command: list[str],
    file: str,
    part: Path,
    labelled: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    if command[0] == "threshold":
        out.mkdir()
        (out / file).write_bytes(part.read_bytes())
        (out / file).chmod(0o444)
    before = protect(out / file).read_bytes()
    monkeypatch.setattr(fit_module, "_fit", lambda *_: pytest.fail("it was fitted"))
    words = [word.format(set=labelled, part=part, out=out) for word in command]
    with pytest.raises(WriteError, match=f"{file}: could not be written .it is protected"):
        run(*words)
    assert (out / file).read_bytes() == before
    written = {path.name for path in out.rglob("*") if path.is_file()}
    assert written == {file}


@pytest.mark.parametrize("command", ["inspect", "evaluate", "export", "demo", "table", "figure"])
def test_a_file_where_the_folder_should_be(
    command: str, part: Path, labelled: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    words: dict[str, list[object]] = {
        "inspect": [part, labelled],
        "evaluate": [part, labelled],
        "export": [part],
        "demo": [],
        "table": ["1", "--data", labelled],
        "figure": ["5", "--data", labelled],
    }
    for output in ("file", "file/below"):
        with pytest.raises(WriteError, match="could not be written"):
            run(command, *words[command], "-o", tmp_path / output)


def test_names_with_dots_keep_them(labelled: Path, tmp_path: Path) -> None:
    finetune = ["--finetune", "synthetic", "--set", "finetune.epochs=1"]
    finetune += ["--set", "finetune.image_size=64"]
    code, printed = run("fit", labelled, "-o", tmp_path / "part.v1.2", *PATCHCORE, *finetune)
    assert code == 0, printed
    assert (tmp_path / "part.v1.2.finetune").is_dir()
    for version in ("1.2", "1.3"):
        (tmp_path / f"part.v{version}.flawmap").write_bytes((tmp_path / "part.v1.2").read_bytes())
    code, _ = run("export", tmp_path, "-o", tmp_path / "out")
    assert code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"part.v1.{version}.{suffix}" for version in "23" for suffix in ("xml", "bin", "json")
    }
