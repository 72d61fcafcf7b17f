from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from flawmap.cli.result_folder import check_results, open_results
from flawmap.errors import WriteError
from helpers import (
    full_disk,
    needs_file_size_limit,
    run,
    run_in_a_process,
    save,
    texture,
    with_defect,
)

unix_only = pytest.mark.skipif(sys.platform == "win32", reason="needs links and modes of Unix")


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """Two images, one in a folder."""
    save(tmp_path / "new" / "a.png", texture(1))
    save(tmp_path / "new" / "b" / "c.png", texture(2))
    return tmp_path / "new"


def test_a_run_replaces_an_earlier_one_whole(part: Path, new: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("inspect", part, new, "-o", out, "--report")
    mine = {"overlays/mine.png", "overlays/b/mine.png", "notes.txt"}
    for name in mine:
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).touch()
    (new / "b" / "c.png").rename(new / "d.png")
    run("inspect", part, new, "-o", out)
    tables = {"results.csv", "results.jsonl"}
    assert files_in(out) == tables | {"overlays/a.png.png", "overlays/d.png.png"} | mine
    run("inspect", part, new / "a.png", "-o", out)
    assert files_in(out) == tables | {"overlays/a.png.png"} | mine


@pytest.mark.parametrize("output", ["results", "a/b", "."])
def test_no_run_inspects_what_a_run_wrote(
    output: str, part: Path, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(new)
    for place in (output, output, "another"):
        code, printed = run("inspect", part, ".", "-o", place, "--report")
        assert code == 0, printed
        assert "2 good, 0 rejected, 0 unreadable" in printed
    for name in ("results.csv", "results.jsonl"):
        (Path(output) / name).unlink()
    _, printed = run("inspect", part, ".", "-o", "results")
    assert "2 good, 0 rejected, 0 unreadable" in printed


@pytest.mark.parametrize(
    "overlay",
    ["../mine.png", "overlays/../mine.png", "/mine.png", "mine.png", "overlays", "", None, 3, "\0"],
)
def test_a_table_that_names_other_files_removes_none(overlay: object, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for file in (tmp_path / "mine.png", out / "mine.png", out / "overlays" / "kept.png"):
        save(file, texture(0))
    row = {"overlay": overlay, "scorer_sha256": ""}
    lines = [json.dumps(row), "[1]", "no JSON", '{"overlay": "overlays/kept.png"}', '{"ove']
    (out / "results.jsonl").write_text("\n".join(lines))
    with open_results(out):
        pass
    kept = {"mine.png", "overlays/kept.png", "results.csv", "results.jsonl"}
    assert files_in(out) == kept
    assert (tmp_path / "mine.png").is_file()


@unix_only
def test_links_stay(part: Path, new: Path, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "out").symlink_to("far")
    (tmp_path / "far" / "results.csv").symlink_to("../table.csv")
    for _ in range(2):
        run("inspect", part, new, "-o", tmp_path / "out")
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "far" / "results.csv").is_symlink()
    with (tmp_path / "table.csv").open(encoding="utf-8-sig") as stream:
        assert len(list(csv.DictReader(stream))) == 2


def test_a_protected_table_is_found_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "results.csv").touch()
    (tmp_path / "results.csv").chmod(0o444)
    with pytest.raises(WriteError, match="protected"):
        check_results(tmp_path)


def test_a_name_too_long_for_the_overlay_is_shortened(part: Path, tmp_path: Path) -> None:
    long_name = "n" * 251 + ".png"
    for name in ("a.png", long_name, "z.png"):
        save(tmp_path / "new" / name, texture(1))
    code, printed = run("inspect", part, tmp_path / "new", "-o", tmp_path / "out", "--report")
    assert code == 0
    assert "3 good" in printed
    lines = (tmp_path / "out" / "results.jsonl").read_text("utf-8").splitlines()
    overlays = [json.loads(line)["overlay"] for line in lines]
    assert {f"overlays/{path.name}" for path in (tmp_path / "out" / "overlays").iterdir()} == set(
        overlays
    )
    assert len(Path(overlays[1]).name) == 255


@needs_file_size_limit
def test_an_overlay_that_cannot_be_written_stops_nothing(part: Path, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save(tmp_path / "new" / name, with_defect(texture(1, 300, 300), 150, 150, 60))
    with full_disk(8_000):
        code, printed = run(
            "inspect", part, tmp_path / "new", "-o", tmp_path / "out", "--min-area", 100_000
        )
    assert code == 2
    assert "0 good, 2 rejected, 0 unreadable" in printed
    assert printed.count("no overlay: ") == 2
    lines = (tmp_path / "out" / "results.jsonl").read_text("utf-8").splitlines()
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    assert [(row["verdict"], row["overlay"]) for row in rows] == [("reject", "")] * 2
    assert "File too large" in rows[0]["error"]
    assert files_in(tmp_path / "out") == {"results.csv", "results.jsonl"}


@needs_file_size_limit
def test_a_disk_that_fills_up_keeps_the_rows_and_exits_with_2(part: Path, tmp_path: Path) -> None:
    save(tmp_path / "new" / "00.png", texture(1, 16, 16))
    for number in range(1, 30):
        (tmp_path / "new" / f"{number:02}.png").hardlink_to(tmp_path / "new" / "00.png")
    with full_disk(5_000):
        code, printed = run("inspect", part, tmp_path / "new", "-o", tmp_path / "out")
    assert code == 2
    rows = (tmp_path / "out" / "results.jsonl").read_text("utf-8").splitlines()
    assert 2 < len(rows) < 30
    assert [Path(json.loads(row)["image"]).name for row in rows][-1] == f"{len(rows) - 1:02}.png"
    assert "could not be written (File too large)" in printed
    assert f"stopped after {len(rows) - 1} of 30 images" in printed.replace("\n", " ") or (
        f"stopped after {len(rows)} of 30 images" in printed.replace("\n", " ")
    )


@unix_only
def test_a_disk_that_is_full_from_the_start_is_one_line(part: Path, new: Path) -> None:
    done = run_in_a_process("inspect", part, new, "-o", "/dev/null/results")
    assert done.returncode == 3
    assert done.stderr.startswith("flawmap: /dev/null/results: could not be written")
    assert len(done.stderr.splitlines()) == 1


@needs_file_size_limit
def test_a_report_without_room_leaves_the_tables(part: Path, tmp_path: Path) -> None:
    save(tmp_path / "new" / "a.png", texture(1, 16, 16))
    with full_disk(20_000):
        code, printed = run("inspect", part, tmp_path / "new", "-o", tmp_path / "out", "--report")
    assert code == 2
    assert "report.html: could not be written (File too large)" in printed
    assert files_in(tmp_path / "out") == {"overlays/a.png.png", "results.csv", "results.jsonl"}
