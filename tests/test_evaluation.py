from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flawmap import Inspector
from flawmap.data.layouts import labelled_test_samples
from flawmap.data.sample import Sample
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
    evaluation = evaluate(inspector.runtime, labelled_test_samples(dataset))
    values = {name: metric.value for name, metric in evaluation.metrics.items()}
    assert values["image AUROC"] == 1
    assert values["F1 max"] == 1
    assert values["share of defects"] == 0.5
    assert values["F1 of rejecting all"] == pytest.approx(2 / 3)
    assert values["pixel AUROC"] > 0.9
    assert values["AUPRO"] > 0.5
    assert values["defects missed"] == 0
    assert len(evaluation.records) == 10
    assert evaluation.confusion["TP"] == 5
    assert sum(evaluation.confusion.values()) == 10


def test_each_type_of_defect_has_its_figures_against_all_good_images(
    inspector: Inspector, dataset: Path
) -> None:
    for seed in range(3):
        save(dataset / "test" / "hidden" / f"{seed}.png", texture(300 + seed))
    kinds = evaluate(inspector.runtime, labelled_test_samples(dataset)).by_defect_type
    assert list(kinds) == ["hidden", "spot"]
    assert kinds["spot"]["image AUROC"].value == 1
    assert kinds["hidden"]["image AUROC"].value < 1
    assert "no defective test image has a mask" in kinds["hidden"]["AUPRO"].unavailable


def test_what_cannot_be_had_is_absent_with_its_reason(inspector: Inspector, dataset: Path) -> None:
    only_good = [sample for sample in labelled_test_samples(dataset) if not sample.label]
    metrics = evaluate(inspector.runtime, only_good).metrics
    assert metrics["image AUROC"].unavailable == "no defective test images"
    assert metrics["pixel AUROC"].unavailable == "no defective test image has a mask"
    assert metrics["good parts rejected"].value is not None


def test_images_without_masks_count_in_no_pixel_figure(inspector: Inspector, dataset: Path) -> None:
    bare = [
        Sample(sample.path, sample.split, sample.defect_type)
        for sample in labelled_test_samples(dataset)
    ]
    metrics = evaluate(inspector.runtime, bare).metrics
    assert metrics["image AUROC"].value == 1
    assert metrics["pixel AUROC"].value is None


def test_a_bad_image_has_its_row_and_counts_nowhere(inspector: Inspector, dataset: Path) -> None:
    (dataset / "test/good/0.png").write_bytes(b"")
    evaluation = evaluate(inspector.runtime, labelled_test_samples(dataset))
    (bad,) = [row for row in evaluation.records if row.error]
    assert bad.score is None
    assert evaluation.metrics["share of defects"].value == pytest.approx(5 / 9)


def test_bad_masks_are_said_and_their_images_still_judged(
    inspector: Inspector, dataset: Path
) -> None:
    save(dataset / "ground_truth/spot/0_mask.png", np.zeros((10, 10, 3), np.uint8))
    (dataset / "ground_truth/spot/1_mask.png").write_text("no mask")
    save(dataset / "ground_truth/spot/2_mask.png", np.zeros((64, 64, 3), np.uint8))
    save(dataset / "ground_truth/good/3_mask.png", np.full((64, 64, 3), 255, np.uint8))
    evaluation = evaluate(inspector.runtime, labelled_test_samples(dataset))
    errors = {
        row.sample.path.stem + row.sample.defect_type: row.error
        for row in evaluation.records
        if row.error
    }
    assert "the mask is 10×10, its image 64×64" in errors["0spot"]
    assert "1_mask.png" in errors["1spot"]
    assert "marks nothing" in errors["2spot"]
    assert "marks 4096 pixels of an image that is said to be good" in errors["3good"]
    assert len(errors) == 4
    assert evaluation.metrics["share of defects"].value == 0.5
    assert all(row.score is not None for row in evaluation.records)


def test_each_is_shown_as_it_comes_with_its_true_mask(inspector: Inspector, dataset: Path) -> None:
    seen = []
    evaluate(
        inspector.runtime,
        labelled_test_samples(dataset),
        on_image=lambda row, inspection, mask: seen.append((row.sample, mask is not None)),
    )
    assert seen == [(sample, bool(sample.label)) for sample in labelled_test_samples(dataset)]
