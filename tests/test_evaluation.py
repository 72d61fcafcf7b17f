from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flawmap import Inspector, Runtime
from flawmap.data.layouts import labelled_test_samples
from flawmap.data.sample import Sample
from flawmap.evaluation import evaluate
from flawmap.report.data import describe_counted
from flawmap.runtime import bundle
from flawmap.runtime.backend import ScoredImage
from flawmap.runtime.calibration import Budget
from flawmap.runtime.record import Record
from helpers import TINY, save, texture, with_defect


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


def test_metrics(inspector: Inspector, dataset: Path) -> None:
    evaluation = evaluate(inspector.runtime, labelled_test_samples(dataset))
    values = {name: metric.value or 0.0 for name, metric in evaluation.metrics.items()}
    assert values["image AUROC"] == 1
    assert values["F1 max"] == 1
    assert values["defect prevalence"] == 0.5
    assert values["F1 of rejecting all"] == pytest.approx(2 / 3)
    assert values["pixel AUROC"] > 0.9
    assert values["AUPRO"] > 0.5
    assert values["miss rate (FNR)"] == 0
    assert len(evaluation.records) == 10
    assert evaluation.confusion["TP"] == 5
    assert sum(evaluation.confusion.values()) == 10


def test_each_defect_type_has_its_metrics_against_all_good_images(
    inspector: Inspector, dataset: Path
) -> None:
    for seed in range(3):
        save(dataset / "test" / "hidden" / f"{seed}.png", texture(300 + seed))
    by_type = evaluate(inspector.runtime, labelled_test_samples(dataset)).by_defect_type
    assert list(by_type) == ["hidden", "spot"]
    assert by_type["spot"]["image AUROC"].value == 1
    assert (by_type["hidden"]["image AUROC"].value or 0) < 1
    assert "no defective test image has a mask" in by_type["hidden"]["AUPRO"].unavailable


def test_defects_found_by_the_calibrated_threshold_of_each_defect_type(
    inspector: Inspector, dataset: Path
) -> None:
    """Twenty good images calibrate 5 % and not 1 %; five good test images rank for neither."""
    for seed in range(3):
        save(dataset / "test" / "hidden" / f"{seed}.png", texture(300 + seed))
    evaluation = evaluate(inspector.runtime, labelled_test_samples(dataset))
    calibration = replace(inspector.runtime.calibration, budget=Budget(0.05))
    name = "defects found at 5 % false rejects, calibrated"
    assert list(evaluation.by_defect_type) == ["hidden", "spot"]
    for defect_type, metrics in [("", evaluation.metrics), *evaluation.by_defect_type.items()]:
        rejected = [
            calibration.rejects(record.score or 0)
            for record in evaluation.records
            if record.truth == "defective" and defect_type in ("", record.defect_type)
        ]
        assert metrics[name].value == np.mean(rejected)
        unavailable = metrics["defects found at 1 % false rejects, calibrated"].unavailable
        assert unavailable == "1 % takes 99 good images to calibrate on; there are 20"
        by_rank = metrics["defects found at 5 % false rejects, by rank"]
        assert by_rank.unavailable == "5 % takes 19 good test images; there are 5"
    assert next(iter(evaluation.metrics)) == "defects found at 1 % false rejects, calibrated"


def test_what_cannot_be_computed_is_unavailable_with_its_reason(
    inspector: Inspector, dataset: Path
) -> None:
    only_good = [sample for sample in labelled_test_samples(dataset) if not sample.label]
    metrics = evaluate(inspector.runtime, only_good).metrics
    assert metrics["image AUROC"].unavailable == "no defective test images"
    assert metrics["pixel AUROC"].unavailable == "no defective test image has a mask"
    assert metrics["false reject rate (FPR)"].value is not None


def test_images_without_masks_count_in_no_pixel_metric(inspector: Inspector, dataset: Path) -> None:
    bare = [
        Sample(sample.path, sample.split, sample.defect_type)
        for sample in labelled_test_samples(dataset)
    ]
    metrics = evaluate(inspector.runtime, bare).metrics
    assert metrics["image AUROC"].value == 1
    assert metrics["pixel AUROC"].value is None


def test_a_bad_image_has_its_record_and_counts_nowhere(inspector: Inspector, dataset: Path) -> None:
    (dataset / "test/good/0.png").write_bytes(b"")
    evaluation = evaluate(inspector.runtime, labelled_test_samples(dataset))
    (bad,) = [record for record in evaluation.records if record.error]
    assert bad.score is None
    assert evaluation.metrics["defect prevalence"].value == pytest.approx(5 / 9)


def test_bad_masks_are_named_and_their_images_still_inspected(
    inspector: Inspector, dataset: Path
) -> None:
    save(dataset / "ground_truth/spot/0_mask.png", np.zeros((10, 10, 3), np.uint8))
    (dataset / "ground_truth/spot/1_mask.png").write_text("no mask")
    save(dataset / "ground_truth/spot/2_mask.png", np.zeros((64, 64, 3), np.uint8))
    save(dataset / "ground_truth/good/3_mask.png", np.full((64, 64, 3), 255, np.uint8))
    evaluation = evaluate(inspector.runtime, labelled_test_samples(dataset))
    errors = {
        Path(record.image).stem + str(record.defect_type): record.error
        for record in evaluation.records
        if record.error
    }
    assert "the mask is 10×10, its image 64×64" in errors["0spot"]
    assert "1_mask.png" in errors["1spot"]
    assert "marks nothing" in errors["2spot"]
    assert "marks 4096 pixels of an image that is labelled good" in errors["3good"]
    assert len(errors) == 4
    assert evaluation.metrics["defect prevalence"].value == 0.5
    assert all(record.score is not None for record in evaluation.records)


def test_each_record_is_passed_on_with_its_true_mask(inspector: Inspector, dataset: Path) -> None:
    calls: list[tuple[Record, bool]] = []
    samples = labelled_test_samples(dataset)
    evaluation = evaluate(
        inspector.runtime,
        samples,
        on_image=lambda record, inspection, mask: calls.append((record, mask is not None)),
    )
    assert calls == [(record, record.truth == "defective") for record in evaluation.records]
    defect_types = [(record.image, record.defect_type) for record in evaluation.records]
    assert defect_types == [(str(sample.path), sample.defect_type) for sample in samples]
    assert {record.truth for record in evaluation.records} == {"good", "defective"}


class FirstIsNoNumber:
    """Scores images by their number, but for the first."""

    def score_many(
        self, images: Iterable[np.ndarray], *, throughput: bool
    ) -> Iterator[ScoredImage]:
        for number, image in enumerate(images):
            score = math.nan if number == 0 else float(number)
            yield ScoredImage(score, np.ones(image.shape[1:], np.float32), 1.0)


def test_a_score_that_is_no_number_counts_nowhere(
    inspector: Inspector, dataset: Path, tmp_path: Path
) -> None:
    inspector.save(tmp_path / "part.flawmap")
    manifest = bundle.load(tmp_path / "part.flawmap").manifest
    runtime = Runtime(manifest, inspector.runtime.calibration, FirstIsNoNumber())
    evaluation = evaluate(runtime, labelled_test_samples(dataset))
    assert [record.verdict for record in evaluation.records].count("undecided") == 1
    assert evaluation.metrics["defect prevalence"].value == pytest.approx(5 / 9)


def test_what_a_mask_leaves_out_counts_in_no_pixel_metric(dataset: Path) -> None:
    """The defects are at column 40; with the right part left out, they cannot be found."""
    mask = np.ones((64, 64), bool)
    mask[:, 26:] = False
    good = [texture(seed) for seed in range(10)]
    masked = Inspector(size=64, mask=mask, **TINY).fit(good)
    for seed in range(2):
        save(dataset / "test" / "left" / f"{seed}.png", with_defect(texture(300 + seed), 20, 26))
        truth = with_defect(np.zeros((64, 64, 3), np.uint8), 20, 26)
        save(dataset / "ground_truth" / "left" / f"{seed}_mask.png", truth)
    evaluation = evaluate(masked.runtime, labelled_test_samples(dataset))
    assert evaluation.counted_share == pytest.approx(26 / 64)
    assert sorted(Path(path).name for path in evaluation.hidden_defects) == [
        f"{seed}.png" for seed in range(5)
    ]
    assert sum(evaluation.confusion.values()) == 12
    assert evaluation.metrics["defect prevalence"].value == pytest.approx(7 / 12)
    reject_all = evaluation.by_defect_type["left"]["F1 of rejecting all"]
    assert reject_all.value == pytest.approx(2 * 2 / (2 * 2 + 5))
    share = 2 * np.count_nonzero(truth[:, :26, 0]) / (12 * 26 * 64)
    assert evaluation.metrics["pixel F1 of rejecting all"].value == pytest.approx(
        2 * share / (1 + share)
    )
    assert "no defective test image has a mask" in (
        evaluation.by_defect_type["spot"]["AUPRO"].unavailable
    )
    sentences = describe_counted(evaluation)
    assert "40.6% of their pixels count" in sentences[0]
    assert "The defect of 5 defective images lies wholly where nothing counts" in sentences[1]
