from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flawmap.errors import BundleError, DatasetError
from flawmap.render import heatmap
from flawmap.runtime.images.decode import decode
from flawmap.runtime.record import CSV_COLUMNS
from helpers import run, run_in_a_process, save, texture


def read_lines(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "results.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_inspect_leaves_a_line_a_table_and_an_image_each(
    part: Path, images: Path, tmp_path: Path
) -> None:
    code, output = run("inspect", part, images, "-o", tmp_path / "out")
    assert code == 1
    assert re.search(r"reject  p 0\.0476  score +\d+\.\d{4}  .*坏/defect\.jpg", output)
    assert "3 good, 1 rejected, 0 unreadable" in output
    with (tmp_path / "out" / "results.csv").open(encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert [row["verdict"] for row in rows] == ["good", "good", "good", "reject"]
    lines = read_lines(tmp_path / "out")
    assert [line["verdict"] for line in lines] == ["good", "good", "good", "reject"]
    assert [float(row["score"]) for row in rows] == [line["score"] for line in lines]
    assert lines[3]["overlay"] == rows[3]["overlay"] == "overlays/坏/defect.jpg.png"
    assert decode(tmp_path / "out" / lines[3]["overlay"]).shape == (90, 70, 3)


def test_all_good_exits_with_0(part: Path, images: Path, tmp_path: Path) -> None:
    code, output = run("inspect", part, *sorted(images.glob("*.png")), "-o", tmp_path / "out")
    assert code == 0
    assert "3 good, 0 rejected" in output


def test_one_bad_image_stops_nothing_and_exits_with_2(
    part: Path, images: Path, tmp_path: Path
) -> None:
    (images / "broken.png").write_text("no image")
    missing = tmp_path / "nowhere.png"
    code, output = run("inspect", part, images, missing, "-o", tmp_path / "out")
    assert code == 2
    assert "3 good, 1 rejected, 2 unreadable" in output
    undecided = [line for line in read_lines(tmp_path / "out") if line["verdict"] == "undecided"]
    assert [bool(line["error"]) for line in undecided] == [True, True]
    assert all(line["score"] is None for line in undecided)


@pytest.mark.skipif(sys.platform == "win32", reason="names cannot have control characters there")
def test_a_name_with_control_characters_keeps_to_its_line(part: Path, tmp_path: Path) -> None:
    good = save(tmp_path / "new" / "a\nreject  p 0.0100 \x1b[2Jb.png", texture(1))
    (tmp_path / "new" / "x\ry.png").write_text("no image")
    _, output = run("inspect", part, tmp_path / "new", "-o", tmp_path / "out")
    lines = output.splitlines()
    assert len(lines) == 3
    assert lines[0].endswith(r"a\nreject  p 0.0100 \x1b[2Jb.png")
    assert r"x\ry.png: " in lines[1]
    assert read_lines(tmp_path / "out")[0]["image"] == str(good)


def test_the_same_name_twice_keeps_both_maps(part: Path, tmp_path: Path) -> None:
    twice = [save(tmp_path / folder / "a.png", texture(1)) for folder in ("one", "two")]
    run("inspect", part, *twice, "-o", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out" / "overlays").iterdir()) == [
        "a.png (2).png",
        "a.png.png",
    ]


def test_rows_survive_a_kill(part: Path, tmp_path: Path) -> None:
    folder, results = tmp_path / "new", tmp_path / "out"
    for number in range(20):
        save(folder / f"{number:03}.png", texture(number))
    for number in range(20, 400):
        shutil.copyfile(folder / f"{number % 20:03}.png", folder / f"{number:03}.png")
    arguments = ["inspect", part, folder, "-o", results]
    command = [sys.executable, "-m", "flawmap", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        reported = [process.stdout.readline() for _ in range(150)]
        process.kill()
        reported += process.stdout.read().splitlines()
    lines = read_lines(results)
    assert 150 <= len(reported) <= len(lines) <= len(reported) + 1
    assert len(lines) < 400
    assert [Path(line["image"]).name for line in lines] == [
        f"{n:03}.png" for n in range(len(lines))
    ]
    with (results / "results.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(lines) - 1 <= len(rows) <= len(lines)
    for row, line in zip(rows, lines, strict=False):
        assert (row["image"], float(row["score"])) == (line["image"], line["score"])
        assert decode(results / line["overlay"]).shape == (64, 64, 3)


def test_the_results_of_an_earlier_run_stay_until_the_inspector_is_loaded(
    images: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "results.jsonl").write_text("old\n")
    with pytest.raises(BundleError):
        run("inspect", tmp_path / "missing.flawmap", images, "-o", tmp_path / "out")
    assert (tmp_path / "out" / "results.jsonl").read_text() == "old\n"


def test_an_overlay_is_painted_once_where_there_is_a_report(
    part: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    painted: list[tuple[int, ...]] = []
    write_label = heatmap._write_label

    def write(image: np.ndarray, text: str) -> None:
        painted.append(image.shape[:2])
        write_label(image, text)

    monkeypatch.setattr(heatmap, "_write_label", write)
    run("inspect", part, images, "-o", tmp_path / "out", "--report")
    assert sorted(painted) == [(64, 64), (64, 64), (64, 64), (90, 70)]


def test_a_folder_without_images(part: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no images in this folder"):
        run("inspect", part, tmp_path / "empty")


def test_results_that_cannot_be_written(part: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file where the folder should be")
    done = run_in_a_process("inspect", part, images, "-o", tmp_path / "out")
    assert done.returncode == 3
    assert "could not be written" in done.stderr


def test_regions_are_in_the_results_and_small_ones_only_left_out_when_asked(
    part: Path, images: Path, tmp_path: Path
) -> None:
    def regions(*options: Any) -> tuple[list[dict[str, Any]], dict[str, str]]:
        run("inspect", part, images / "坏", "-o", tmp_path / "out", *options)
        (line,) = read_lines(tmp_path / "out")
        with (tmp_path / "out" / "results.csv").open(encoding="utf-8-sig") as stream:
            (row,) = csv.DictReader(stream)
        assert row["verdict"] == "reject"
        return line["regions"], row

    listed, row = regions()
    assert set(listed[0]) == {"x", "y", "width", "height", "area", "peak", "outline"}
    assert listed[0]["peak"] > 1
    assert int(row["regions"]) == len(listed)
    assert int(row["area"]) == sum(region["area"] for region in listed)
    assert regions("--min-area", 100_000)[0] == []


def test_a_report_without_labels(part: Path, images: Path, tmp_path: Path) -> None:
    run("inspect", part, images, "-o", tmp_path / "out", "--report")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "defect.jpg" in page
    assert "AUROC" not in page


def test_products_are_inspected_by_the_inspector_of_their_name(part: Path, tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "Black.flawmap").write_bytes(part.read_bytes())
    for product in ("Black", "Green"):
        save(tmp_path / "new" / product / "a.png", texture(1))
    code, output = run("inspect", tmp_path / "parts", tmp_path / "new", "-o", tmp_path / "out")
    assert code == 0
    assert "Green: no inspector of that name" in output
    assert (tmp_path / "out" / "Black" / "results.csv").is_file()
    with pytest.raises(DatasetError, match="no name in common"):
        run("inspect", tmp_path / "parts", tmp_path / "parts", "-o", tmp_path / "out")
