from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flawmap import Inspector
from flawmap.data.layouts import Sample, to_test
from flawmap.evaluation import evaluate
from helpers import save, texture, with_defect


@pytest.fixture(scope="module")
def inspector() -> Inspector:
    return Inspector(size=64, coreset=0.1).fit([texture(seed) for seed in range(20)])


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    for seed in range(5):
        save(tmp_path / "test" / "good" / f"{seed}.png", texture(100 + seed))
        save(tmp_path / "test" / "spot" / f"{seed}.png", with_defect(texture(200 + seed), 20, 40))
        mask = with_defect(np.zeros((64, 64, 3), np.uint8), 20, 40)
        save(tmp_path / "ground_truth" / "spot" / f"{seed}_mask.png", mask)
    return tmp_path


def test_figures(inspector: Inspector, dataset: Path) -> None:
    evaluation = evaluate(inspector, to_test(dataset))
    metrics = evaluation.metrics
    assert metrics["image AUROC"] == 1
    assert metrics["F1 max"] == 1
    assert metrics["share of defects"] == 0.5
    assert metrics["F1 of rejecting all"] == pytest.approx(2 / 3)
    assert metrics["pixel AUROC"] > 0.9
    assert len(evaluation.rows) == 10
    assert metrics["defects missed"] == 0


def test_what_cannot_be_had_is_none(inspector: Inspector, dataset: Path) -> None:
    only_good = [sample for sample in to_test(dataset) if not sample.label]
    metrics = evaluate(inspector, only_good).metrics
    assert metrics["image AUROC"] is None
    assert metrics["pixel AUROC"] is None
    assert metrics["good parts rejected"] is not None


def test_pictures_without_masks_count_in_no_pixel_figure(inspector: Inspector, dataset: Path) -> None:
    bare = [Sample(sample.path, sample.split, sample.kind) for sample in to_test(dataset)]
    metrics = evaluate(inspector, bare).metrics
    assert metrics["image AUROC"] == 1
    assert metrics["pixel AUROC"] is None


def test_bad_pictures_and_masks_have_their_row_and_count_nowhere(inspector: Inspector, dataset: Path) -> None:
    (dataset / "test/good/0.png").write_bytes(b"")
    save(dataset / "ground_truth/spot/0_mask.png", np.zeros((10, 10, 3), np.uint8))
    (dataset / "ground_truth/spot/1_mask.png").write_text("no mask")
    evaluation = evaluate(inspector, to_test(dataset))
    errors = [row.error for row in evaluation.rows if row.error]
    assert len(errors) == 3
    assert any("the mask is 10×10, its picture 64×64" in error for error in errors)
    assert evaluation.metrics["share of defects"] == pytest.approx(3 / 7)


def test_each_is_shown_as_it_comes(inspector: Inspector, dataset: Path) -> None:
    seen = []
    evaluate(inspector, to_test(dataset), seen=lambda sample, inspection: seen.append((sample, inspection)))
    assert [sample for sample, _ in seen] == to_test(dataset)
