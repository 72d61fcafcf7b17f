from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flawmap.errors import DatasetError
from flawmap.runtime.record import CSV_COLUMNS
from helpers import run, save, texture, with_defect


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    for seed in range(4):
        save(tmp_path / "data/test/good" / f"{seed}.png", texture(seed))
        save(tmp_path / "data/test/spot" / f"{seed}.png", with_defect(texture(seed), 30, 30))
    return tmp_path / "data"


def test_evaluate_writes_metrics_scores_and_a_page(
    part: Path, dataset: Path, tmp_path: Path
) -> None:
    code, output = run("evaluate", part, dataset, "-o", tmp_path / "out")
    assert code == 0
    assert re.search(r"image AUROC\s+│\s+100\.00", output)
    assert "no defective test image has a mask" in output
    assert re.search(r"spot \(4\)\s+│\s+–\s+│\s+100\.0\s+│\s+–\s+│\s+–\s+│", output)
    assert "– 5 % takes 19 good test images; there are 4" in output
    assert output.index("defects found") < output.index("image AUROC")
    summary = json.loads((tmp_path / "out/metrics.json").read_text())
    assert summary["metrics"]["defect prevalence"] == {"value": 0.5}
    assert summary["metrics"]["AUPRO"] == {"unavailable": "no defective test image has a mask"}
    assert summary["by_defect_type"]["spot"]["image AUROC"]["value"] == 1
    assert summary["confusion"]["TP"] == 4
    with (tmp_path / "out/scores.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == CSV_COLUMNS
    truths = [(row["truth"], row["defect_type"]) for row in rows]
    assert truths == [("good", "good")] * 4 + [("defective", "spot")] * 4
    assert {row["verdict"] for row in rows[4:]} == {"reject"}
    check_metrics_csv(tmp_path / "out/metrics.csv", summary)
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "SHA-256" in page
    assert "image AUROC" in page


def check_metrics_csv(file: Path, summary: dict[str, Any]) -> None:
    """The rows hold what the JSON holds, with empty cells for what is unavailable."""
    with file.open(encoding="utf-8-sig", newline="") as stream:
        rows = {(row["defect_type"], row["metric"]): row for row in csv.DictReader(stream)}
    of_all = {("", name): metric for name, metric in summary["metrics"].items()}
    of_spot = {("spot", name): metric for name, metric in summary["by_defect_type"]["spot"].items()}
    assert rows.keys() == (of_all | of_spot).keys()
    for key, metric in (of_all | of_spot).items():
        for name in ("value", "low", "high", "unavailable"):
            assert rows[key][name] == str(metric.get(name, "")), (key, name)
    assert ("spot", "defects found at 5 % false rejects, calibrated") in rows


def test_products_are_evaluated_each_and_their_means_shown(
    part: Path, dataset: Path, tmp_path: Path
) -> None:
    for product in ("Black", "White"):
        (tmp_path / "parts").mkdir(exist_ok=True)
        (tmp_path / "parts" / f"{product}.flawmap").write_bytes(part.read_bytes())
        (tmp_path / "products").mkdir(exist_ok=True)
        (tmp_path / "products" / product).symlink_to(dataset)
    code, output = run(
        "evaluate", tmp_path / "parts", tmp_path / "products", "-o", tmp_path / "out"
    )
    assert code == 0
    assert re.search(r"mean\s+│\s+–\s+│\s+100\.00", output)
    assert "Black, White: 1 % takes 99 good images to calibrate on; there are 20" in output
    assert (tmp_path / "out/White/report.html").is_file()
    assert set(json.loads((tmp_path / "out/metrics.json").read_text())) == {"Black", "White"}


def test_bad_images_are_named_and_exit_with_2(part: Path, dataset: Path, tmp_path: Path) -> None:
    (dataset / "test/good/0.png").write_bytes(b"cut")
    code, output = run("evaluate", part, dataset, "-o", tmp_path / "out")
    assert code == 2
    assert "0.png" in output


def test_a_folder_without_inspectors(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    with pytest.raises(DatasetError, match=r"no \.flawmap files"):
        run("evaluate", tmp_path / "parts", dataset)


def test_two_masks_of_one_image_are_both_named(part: Path, dataset: Path, tmp_path: Path) -> None:
    for name in ("0.png", "0_mask.png", "1.png", "9_mask.png"):
        save(dataset / "ground_truth/spot" / name, np.eye(64, dtype=np.uint8) * 255)
    code, output = run("evaluate", part, dataset, "-o", tmp_path / "out")
    assert code == 2
    assert "spot/0.png: has 2 masks, " in output
    assert "2 of 4 defective images have no mask, first" in output
    assert "1 mask belongs to no image, first" in output
    with (tmp_path / "out/scores.csv").open(encoding="utf-8-sig", newline="") as stream:
        errors = [row["error"] for row in csv.DictReader(stream)]
    assert [bool(error) for error in errors] == [False] * 4 + [True] + [False] * 3


def test_words_for_good_are_good_and_a_closed_product_is_named(
    part: Path, dataset: Path, tmp_path: Path
) -> None:
    (dataset / "test/good").rename(dataset / "test/OK")
    (dataset / "test/spot").rename(dataset / "test/NG")
    (tmp_path / "products").mkdir()
    (tmp_path / "products" / "part").symlink_to(dataset)
    save(tmp_path / "products" / "rejected" / "0.png", texture(0))
    code, output = run("evaluate", part, tmp_path / "products", "-o", tmp_path / "out")
    assert code == 0
    assert "1 folder with images is no product: rejected" in output
    assert json.loads((tmp_path / "out/part/metrics.json").read_text())["confusion"]["TN"] == 4
