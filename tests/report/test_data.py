from __future__ import annotations

from pathlib import Path

import pytest

from flawmap import Inspector, Runtime
from flawmap.data.layouts import labelled_test_samples
from flawmap.data.splits import dataset_sha256
from flawmap.evaluation import Evaluation, evaluate
from flawmap.report.data import from_evaluation, from_records
from flawmap.report.gallery import Gallery
from flawmap.report.page import render_page
from helpers import TINY, save, texture, with_defect
from records import make_record


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    file = tmp_path_factory.mktemp("data") / "part.flawmap"
    Inspector(size=64, **TINY).fit([texture(seed) for seed in range(20)]).save(file)
    return Runtime.load(file)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    for seed in range(3):
        save(tmp_path / "bolts/test/good" / f"{seed}.png", texture(100 + seed))
        save(tmp_path / "bolts/test/spot" / f"{seed}.png", with_defect(texture(200 + seed), 20, 40))
    (tmp_path / "bolts/test/good/broken.png").write_bytes(b"no image")
    return tmp_path / "bolts"


def test_records_without_truth_say_what_inspected_them(runtime: Runtime) -> None:
    records = [make_record("a.png", 3.0, inference_ms=10.0), make_record("b.png", None)]
    report = from_records(Path("line 1/bolt.flawmap"), runtime, records, Gallery())
    assert (report.title, report.table, report.confusion) == ("bolt", "results.csv", None)
    assert report.subtitle.startswith("flawmap · calibrated on 20 good images · ")
    assert report.threshold == runtime.calibration.threshold
    assert report.calibration_scores == runtime.calibration.scores.tolist()
    files = report.details["Files"]
    assert files["model SHA-256"] == runtime.model_sha256
    assert files["scorer SHA-256"] == runtime.scorer_sha256
    timings = report.details["Timings"]
    assert (timings["images inspected"], timings["95th percentile"]) == ("1", "10.0 ms")
    settings = report.details["Settings"]
    assert (settings["size"], settings["context"]) == ("64 × 64", "Neighbourhood")
    assert settings["context.count_padding"] == "True"


def test_without_an_inspected_image_there_are_no_timings(runtime: Runtime) -> None:
    records = [make_record("b.png", None)]
    report = from_records(Path("bolt.flawmap"), runtime, records, Gallery())
    assert report.details["Timings"] == {}
    assert "bolt" in render_page(report)


def test_an_evaluation_names_its_images_by_one_hash(runtime: Runtime, dataset: Path) -> None:
    samples = labelled_test_samples(dataset)
    evaluation = evaluate(runtime, samples)
    expected = dataset_sha256(samples)
    for sample in samples:
        sample.path.unlink()
    gallery = Gallery()
    report = from_evaluation(Path("part.flawmap"), runtime, dataset, evaluation, gallery)
    assert (report.title, report.table) == ("bolts", "scores.csv")
    assert report.details["Files"]["SHA-256 of all images"] == expected
    assert report.metrics == evaluation.metrics
    assert report.confusion == evaluation.confusion
    assert sum(evaluation.confusion.values()) == len(samples) - 1  # one cannot be read


def test_masks_that_cannot_be_used_are_named_and_counted(runtime: Runtime) -> None:
    records = [make_record(f"{n}.png", 3.0, "dent", error=f"mask {n} is bad") for n in range(5)]
    records.append(make_record("b.png", None, "dent", error="no image"))
    evaluation = Evaluation(records, {}, {}, {})
    gallery = Gallery()
    report = from_evaluation(Path("part.flawmap"), runtime, Path("bolts"), evaluation, gallery)
    assert report.warnings[-1] == (
        "5 masks cannot be used; their images count in no metric per pixel: "
        "mask 0 is bad; mask 1 is bad; mask 2 is bad; and 2 more, see scores.csv."
    )
