from __future__ import annotations

from pathlib import Path

import pytest

from flawmap.data.layouts import find_samples
from flawmap.errors import OptionError
from helpers import SMALL, run, save, texture, with_defect


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    for seed in range(40):
        save(tmp_path / "data/good" / f"{seed}.png", texture(seed))
    for seed in range(3):
        save(tmp_path / "data/spot" / f"{seed}.png", with_defect(texture(seed), 30, 30))
    return tmp_path / "data"


def test_a_manifest_serves_every_command(dataset: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "split.csv"
    code, output = run("split", dataset, "-o", manifest)
    assert code == 0
    assert "3 defective to test" in output
    samples = find_samples(manifest)
    assert {sample.split for sample in samples} == {"train", "calibration", "test"}
    assert all(sample.sha256 for sample in samples)
    code, output = run("fit", manifest, "-o", tmp_path / "p.flawmap", *SMALL)
    assert code == 0
    calibration = sum(sample.split == "calibration" for sample in samples)
    assert f"Calibrated on {calibration} good images that it was not fitted to" in output
    code, _ = run("evaluate", tmp_path / "p.flawmap", manifest, "-o", tmp_path / "out")
    assert code == 0


def test_near_duplicates_across_splits_are_said(dataset: Path, tmp_path: Path) -> None:
    for seed in range(40):
        save(dataset / "good" / f"copy of {seed}.jpg", texture(seed))
    code, output = run("split", dataset, "-o", tmp_path / "split.csv")
    assert code == 0
    assert "near-duplicates lie in different splits" in output
    assert "group" in output


def test_products_get_a_manifest_each(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "products").mkdir()
    for product in ("Black", "White"):
        (tmp_path / "products" / product).symlink_to(dataset)
    assert run("split", tmp_path / "products", "-o", tmp_path / "splits")[0] == 0
    assert sorted(file.name for file in (tmp_path / "splits").iterdir()) == [
        "Black.csv",
        "White.csv",
    ]
    assert run("fit", tmp_path / "splits", "-o", tmp_path / "parts", *SMALL)[0] == 0
    assert sorted(file.stem for file in (tmp_path / "parts").iterdir()) == ["Black", "White"]


def test_fractions_that_cannot_be(dataset: Path) -> None:
    with pytest.raises(OptionError, match="train"):
        run("split", dataset, "--calibration-fraction", "0.6", "--test-fraction", "0.5")
