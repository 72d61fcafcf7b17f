"""`flawmap fit --regions`, and what the other commands say of regions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flawmap.cli.common import ExitCode
from flawmap.errors import OptionError
from helpers import run, run_json, save, texture, with_defect

SMALL = ["--size", "64", "--backbone", "test_resnet", "--weights", "random", "--coreset", "0.1"]


@pytest.fixture
def good(tmp_path: Path) -> Path:
    for seed in range(10):
        save(tmp_path / "good" / f"{seed}.png", texture(seed))
    return tmp_path / "good"


@pytest.fixture
def regions(tmp_path: Path) -> Path:
    corners = [[40, 40], [64, 40], [64, 64], [40, 64]]
    shapes: list[dict[str, Any]] = [
        {"label": "bore", "points": [[0, 0], [32, 32]], "shape_type": "rectangle"},
        {"label": "face", "points": corners, "shape_type": "polygon"},
    ]
    document = {"shapes": shapes, "imageHeight": 64, "imageWidth": 64}
    (tmp_path / "regions.json").write_text(json.dumps(document))
    return tmp_path / "regions.json"


def test_regions_are_named_by_every_command(good: Path, regions: Path, tmp_path: Path) -> None:
    file = tmp_path / "part.flawmap"
    budgets = ["--region-budget", "face=0.2", "--false-rejects", "0.1"]
    code, output = run("fit", good, "-o", file, "--regions", regions, *budgets, *SMALL)
    assert code == ExitCode.ALL_GOOD
    assert "bore 25.0%, face 14.1%, elsewhere 60.9%" in output
    assert "a budget of 20.00% takes 4 good images, and there are 10" in output
    assert "the sum of the budgets" in output
    code, facts = run_json("info", file)
    assert [zone["name"] for zone in facts["zones"]] == ["bore", "face", "elsewhere"]
    assert [zone["images_needed"] for zone in facts["zones"]] == [9, 4, 9]
    assert "region bore" in run("info", file)[1]
    assert "face" in run("threshold", file)[1]
    code, facts = run_json("threshold", file, "--region", "bore", "--false-rejects", "0.3")
    assert [zone["false_rejects"] for zone in facts["zones"]] == [0.3, 0.2, 0.1]
    with pytest.raises(OptionError, match="by --region bore or face or elsewhere"):
        run("threshold", file, "--false-rejects", "0.3")
    for seed in range(3):
        save(tmp_path / "set" / "test" / "good" / f"{seed}.png", texture(50 + seed))
        dent = with_defect(texture(60 + seed), 54, 54, 4)
        save(tmp_path / "set" / "test" / "dent" / f"{seed}.png", dent)
    code, output = run("inspect", file, tmp_path / "set" / "test" / "dent", "-o", tmp_path / "new")
    assert code == ExitCode.SOME_REJECTED
    assert "in face" in output
    rows = (tmp_path / "new" / "results.csv").read_text("utf-8").splitlines()
    assert all(",face," in row for row in rows[1:])
    code, output = run("evaluate", file, tmp_path / "set", "-o", tmp_path / "results")
    assert "Images are ranked by the score of the region that decides" in output
    page = (tmp_path / "results" / "report.html").read_text("utf-8")
    assert "<i>in</i> face" in page
    assert "region elsewhere" in page
    metrics = json.loads((tmp_path / "results" / "metrics.json").read_text("utf-8"))
    assert metrics["threshold"] == 1
    assert metrics["metrics"]["image AUROC"]["value"] == 1


def test_what_cannot_be_is_refused_at_once(good: Path, regions: Path, tmp_path: Path) -> None:
    fit = ["fit", good, "--regions", regions]
    with pytest.raises(OptionError, match="the region 'rim'; there are bore, face, elsewhere"):
        run(*fit, "--region-budget", "rim=0.1", *SMALL)
    for text in ("bore", "bore=much", "=0.1"):
        with pytest.raises(OptionError, match="write a name and a fraction"):
            run(*fit, "--region-budget", text, *SMALL)
    with pytest.raises(OptionError, match="has a budget already"):
        run(*fit, "--region-budget", "bore=0.1", "--region-budget", "bore=0.2", *SMALL)
    with pytest.raises(OptionError, match="without regions"):
        run("fit", good, "--region-budget", "bore=0.1", *SMALL)
    with pytest.raises(OptionError, match="--tune beside --regions"):
        run(*fit, "--tune", "1", *SMALL)
    png = save(good / "regions.png", np.full((64, 64, 3), 255, np.uint8))
    with pytest.raises(OptionError, match=r"the file of regions .* is among the good images"):
        run("fit", good, "--regions", png, "--dry-run", *SMALL)


def test_a_dry_run_says_what_each_budget_takes(good: Path, regions: Path) -> None:
    budget = ["--region-budget", "bore=0.001"]
    code, document = run_json("fit", good, "--regions", regions, "--dry-run", *budget, *SMALL)
    assert code == ExitCode.ALL_GOOD
    assert document["settings"]["regions"] == str(regions)
    assert document["settings"]["region_images_needed"] == {
        "bore": 999,
        "face": 99,
        "elsewhere": 99,
    }


def test_preview_draws_regions_and_tiles(good: Path, regions: Path, tmp_path: Path) -> None:
    file = tmp_path / "preview.png"
    options = ["--regions", regions, "--region-budget", "face=0.05", "--tile", "32", "-o", file]
    code, document = run_json("preview", good, *options)
    assert code == ExitCode.ALL_GOOD
    assert file.exists()
    needed = {zone["name"]: zone["images_needed"] for zone in document["zones"]}
    assert needed == {"bore": 99, "face": 19, "elsewhere": 99}
    assert document["tiles"] == {"side": 32, "overlap": 0.25, "count": 9}
    code, output = run("preview", good, "--tile", "auto", "-o", file)
    assert "Tiles: none, for the images are small" in output
    with pytest.raises(OptionError, match="--region-budget without --regions"):
        run("preview", good, "--region-budget", "bore=0.1", "-o", file)
    with pytest.raises(OptionError, match="the region 'rim'"):
        run("preview", good, "--regions", regions, "--region-budget", "rim=0.1", "-o", file)
