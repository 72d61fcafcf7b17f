from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from flawmap.errors import DatasetError
from flawmap.runtime.decode import decode
from helpers import run, run_in_a_process, save, texture


def test_inspect_leaves_a_line_a_table_and_an_image_each(
    part: Path, images: Path, tmp_path: Path
) -> None:
    code, output = run("inspect", part, images, "-o", tmp_path / "out")
    assert code == 1
    assert re.search(r"reject  p 0\.0476  score +\d+\.\d{4}  .*坏/defect\.jpg", output)
    assert "3 good, 1 rejected, 0 unreadable" in output
    with (tmp_path / "out" / "results.csv").open(encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == [
        "path",
        "score",
        "p_value",
        "reject",
        "regions",
        "area",
        "error",
        "inference_ms",
    ]
    assert [row["reject"] for row in rows] == ["0", "0", "0", "1"]
    lines = [
        json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    ]
    assert [line["reject"] for line in lines] == [False, False, False, True]
    assert float(rows[3]["score"]) == lines[3]["score"]
    assert decode(tmp_path / "out/maps/坏/defect.jpg.png").shape == (90, 70, 3)


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
    lines = [
        json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    ]
    errors = [line["error"] for line in lines if line["error"]]
    assert len(errors) == 2
    assert all(line["score"] is None for line in lines if line["error"])


def test_the_same_name_twice_keeps_both_maps(part: Path, tmp_path: Path) -> None:
    twice = [save(tmp_path / folder / "a.png", texture(1)) for folder in ("one", "two")]
    run("inspect", part, *twice, "-o", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out" / "overlays").iterdir()) == [
        "a.png (2).png",
        "a.png.png",
    ]


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
    def regions(*options: object) -> tuple[list[dict[str, float]], dict[str, str]]:
        run("inspect", part, images / "坏", "-o", tmp_path / "out", *options)
        (line,) = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
        with (tmp_path / "out" / "results.csv").open(encoding="utf-8-sig") as stream:
            (row,) = csv.DictReader(stream)
        assert row["reject"] == "1"
        return json.loads(line)["regions"], row

    found, row = regions()
    assert set(found[0]) == {"x", "y", "width", "height", "area", "peak"}
    assert found[0]["peak"] > 1
    assert (int(row["regions"]), int(row["area"])) == (
        len(found),
        sum(region["area"] for region in found),
    )
    assert regions("--min-area", 100_000)[0] == []


def test_a_report_without_labels(part: Path, images: Path, tmp_path: Path) -> None:
    run("inspect", part, images, "-o", tmp_path / "out", "--report")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "defect.jpg" in page
    assert "AUROC" not in page


def test_products_are_judged_by_the_inspector_of_their_name(part: Path, tmp_path: Path) -> None:
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
