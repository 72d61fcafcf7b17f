from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from flawmap.cli.common import ExitCode
from flawmap.errors import DatasetError, OptionError
from helpers import run, run_json, save, texture


@pytest.fixture
def good(tmp_path: Path) -> Path:
    for seed in range(4):
        image = np.full((60, 90, 3), 20, np.uint8)
        image[15:45, 20:70] = texture(seed, 30, 50)
        save(tmp_path / "good" / f"{seed}.png", image)
    return tmp_path / "good"


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    pixels = np.zeros((20, 30), np.uint8)
    pixels[:, :15] = 255
    return save(tmp_path / "mask.png", pixels)


def test_what_does_not_count_is_drawn(good: Path, mask: Path, tmp_path: Path) -> None:
    file = tmp_path / "preview.png"
    code, output = run("preview", good, "--mask", mask, "-o", file)
    assert code == ExitCode.ALL_GOOD
    assert "Mask: 50.0% of an image count (as given)" in output
    drawn, image = cv2.imread(str(file)), cv2.imread(str(good / "0.png"))
    assert drawn is not None
    assert image is not None
    assert np.array_equal(drawn[2:-2, 2:43], image[2:-2, 2:43])
    assert set(np.unique(drawn[:10, 48:])) == {47, 87}
    code, document = run_json("preview", good, "--mask", "auto", "-o", file)
    assert code == ExitCode.ALL_GOOD
    assert document["mask"]["height"] == 60
    assert document["mask"]["counts"] == pytest.approx(0.32, abs=0.05)
    assert document["mask_reason"] == "the part against its background in 4 of 4 good images"
    assert document["image"] == str(good / "0.png")


def test_without_a_background_auto_says_so(tmp_path: Path) -> None:
    for seed in range(3):
        noise = np.random.default_rng(seed).integers(0, 256, (40, 40, 3)).astype(np.uint8)
        save(tmp_path / "good" / f"{seed}.png", noise)
    code, output = run("preview", tmp_path / "good", "--mask", "auto", "-o", tmp_path / "a.png")
    assert code == ExitCode.ALL_GOOD
    assert "No mask, so that all of an image counts: 3 of 3 good images show no plain" in output


def test_what_cannot_be_drawn_is_an_error(good: Path, mask: Path, tmp_path: Path) -> None:
    file = tmp_path / "preview.png"
    square = save(tmp_path / "square.png", np.full((20, 20), 255, np.uint8))
    with pytest.raises(OptionError, match=r"0\.png: 90×60 pixels, .* the mask is 20×20"):
        run("preview", good, "--mask", square, "-o", file)
    with pytest.raises(OptionError, match="among the good images"):
        run("preview", good, "--mask", good / "0.png", "-o", file)
    (tmp_path / "torn").mkdir()
    for seed in range(3):
        (tmp_path / "torn" / f"{seed}.png").write_bytes(b"no image")
    with pytest.raises(DatasetError, match="none of 3 images can be read"):
        run("preview", tmp_path / "torn", "--mask", mask, "-o", file)
    assert not file.exists()


def test_each_product_has_a_preview(good: Path, tmp_path: Path) -> None:
    for name in ("left", "right"):
        (tmp_path / "parts" / name / "train").mkdir(parents=True)
        good.rename(tmp_path / "parts" / name / "train" / "good")
        for seed in range(3):
            save(good / f"{seed}.png", texture(seed))
    code, _ = run("preview", tmp_path / "parts", "-o", tmp_path / "previews")
    assert code == ExitCode.ALL_GOOD
    assert sorted(file.name for file in (tmp_path / "previews").iterdir()) == [
        "left.png",
        "right.png",
    ]
