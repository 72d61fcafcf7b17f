"""`flawmap fit --mask`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flawmap.cli.common import ExitCode
from flawmap.errors import OptionError
from helpers import run, run_json, save, texture

SMALL = ["--size", "64", "--backbone", "test_resnet", "--weights", "random", "--coreset", "0.1"]


@pytest.fixture
def good(tmp_path: Path) -> Path:
    for seed in range(4):
        save(tmp_path / "good" / f"{seed}.png", texture(seed))
    return tmp_path / "good"


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    pixels = np.zeros((32, 32), np.uint8)
    pixels[:, :8] = 255
    return save(tmp_path / "mask.png", pixels)


def test_what_counts_is_said_by_fit_info_and_evaluate(
    good: Path, mask: Path, tmp_path: Path
) -> None:
    file = tmp_path / "part.flawmap"
    code, facts = run_json("fit", good, "-o", file, "--mask", mask, *SMALL)
    assert code == ExitCode.ALL_GOOD
    assert facts["mask"] == {"height": 32, "width": 32, "counts": 0.25}
    assert facts["mask_reason"] == "as given"
    assert "25.0% of an image count" in run("info", file)[1]
    for seed in range(3):
        save(tmp_path / "set" / "test" / "good" / f"{seed}.png", texture(50 + seed))
        save(tmp_path / "set" / "test" / "dent" / f"{seed}.png", texture(60 + seed))
        truth = np.zeros((64, 64), np.uint8)
        truth[20:30, 40:50] = 255
        save(tmp_path / "set" / "ground_truth" / "dent" / f"{seed}.png", truth)
    code, output = run("evaluate", file, tmp_path / "set", "-o", tmp_path / "results")
    assert "25.0% of their pixels count in the metrics per pixel." in output
    assert "The defect of 3 defective images lies wholly where nothing counts" in output
    page = (tmp_path / "results" / "report.html").read_text("utf-8")
    assert "25.0% of an image count" in page
    assert "lies wholly where nothing counts" in page


def test_what_a_mask_cannot_go_with_is_refused_at_once(good: Path, mask: Path) -> None:
    with pytest.raises(OptionError, match="a fine-tuning learns whole images"):
        run("fit", good, "--mask", mask, "--finetune", "synthetic", *SMALL)
    with pytest.raises(OptionError, match="--tune beside --mask"):
        run("fit", good, "--mask", mask, "--tune", "1", *SMALL)
    with pytest.raises(OptionError, match="letterbox=true"):
        run("fit", good, "--mask", mask, "--method", "patchcore", *SMALL)
    with pytest.raises(OptionError, match="among the good images"):
        run("fit", good, "--mask", good / "0.png", "--dry-run", *SMALL)


def test_a_dry_run_names_the_mask(good: Path, mask: Path) -> None:
    code, document = run_json("fit", good, "--mask", mask, "--dry-run", *SMALL)
    assert code == ExitCode.ALL_GOOD
    assert document["settings"]["mask"] == str(mask)
