from __future__ import annotations

import csv
from pathlib import Path

import pytest

from flawmap.experiments.published import MEAN, Published
from flawmap.experiments.runs import RunResult
from flawmap.experiments.study import MethodSetup, StudyConfig
from flawmap.experiments.table_text import format_table, result_records, write_table
from flawmap.experiments.tables import TableLine, TableSpec
from flawmap.finetune.config import FineTuneConfig
from flawmap.metrics.metric import Metric

TABLE = TableSpec(
    "Two and a missing one",
    (
        TableLine("One", MethodSetup("patchcore")),
        TableLine("Two", MethodSetup("padim", finetuned=True)),
        TableLine("Three", MethodSetup("no-such-method")),
    ),
    {
        "One": {MEAN: Published(97.04, 93.93)},
        "Two": {"left": Published(90, 80), MEAN: Published(91, 81)},
    },
    baseline="One",
)


def result(auroc: float | None, f1: float = 0.9, error: str = "") -> RunResult:
    metrics = {
        "image AUROC": Metric(auroc, 0.8, 0.99)
        if auroc is not None
        else Metric(unavailable="no good test images"),
        "F1 max": Metric(f1),
        "F1 at the threshold": Metric(0.5),
        "defects found at 5 % false rejects, by rank": Metric(0.8, 0.7, 0.85),
        "defect prevalence": Metric(0.6724),
        "F1 of rejecting all": Metric(0.8041),
    }
    return RunResult(
        {"at": repr((auroc, f1, error))}, {} if error else metrics, (761, 583), error=error
    )


@pytest.fixture
def study(products: Path) -> StudyConfig:
    return StudyConfig(products, seeds=2, finetune=FineTuneConfig())


def test_mean_and_deviation_over_seeds_and_products(study: StudyConfig) -> None:
    aurocs = {("left", 0): 0.90, ("left", 1): 0.92, ("right", 0): 0.80, ("right", 1): 0.80}
    results = {(name, 0, seed): result(value) for (name, seed), value in aurocs.items()}
    results |= {(name, 1, seed): result(value + 0.01) for (name, seed), value in aurocs.items()}
    text = format_table(TABLE, study, results)
    one, two, three = text.rows
    assert dict(zip(text.columns, one, strict=True)) == {
        "": "One",
        "left AUROC": "91.00 ± 1.41",
        "left F1 max": "90.00 ± 0.00",
        "right AUROC": "80.00 ± 0.00",
        "right F1 max": "90.00 ± 0.00",
        "mean AUROC": "85.50 ± 0.71",
        "mean F1 max": "90.00 ± 0.00",
        "F1 at 1 %": "50.00 ± 0.00",
        "found at 5 %": "80.00 ± 0.00",
        "over One": "+0.00 / +0.00",
        "published AUROC": "97.04",
        "published F1": "93.93",
    }
    assert two[text.columns.index("over One")] == "+1.00 / +0.00"
    assert set(three[1:-2]) == {"not here yet"}
    notes = " ".join(text.notes)
    assert (
        "left: fitted to 761 good images, 583 inspected, 67.24 % of them defective; rejecting all"
        in notes
    )
    assert "an F1 of 80.41" in notes
    assert "Three: not here yet." in notes
    assert "TL: fine-tuned with synthetic classes, 5 epochs at learning rate 0.001, 2 st" in notes


def test_one_seed_has_the_interval_over_images(products: Path) -> None:
    study = StudyConfig(products / "left", seeds=1)
    text = format_table(TABLE, study, {("left", 0, 0): result(0.9)})
    assert text.columns[:3] == ["", "left AUROC", "left F1 max"]
    assert text.rows[0][1:3] == ["90.00 (80.0–99.0)", "90.00"]


def test_runs_from_before_a_metric_have_a_dash_for_it(products: Path) -> None:
    study = StudyConfig(products / "left", seeds=2)
    new, old = result(0.9), result(0.8)
    del old.metrics["defects found at 5 % false rejects, by rank"]
    text = format_table(TABLE, study, {("left", 0, 0): old, ("left", 0, 1): new})
    shown = dict(zip(text.columns, text.rows[0], strict=True))
    assert (shown["left AUROC"], shown["found at 5 %"]) == ("85.00 ± 7.07", "–")
    text = format_table(TABLE, study, {("left", 0, 0): new})
    assert text.rows[0][text.columns.index("found at 5 %")] == "80.00 (70.0–85.0)"


def test_seeds_are_counted_where_products_differ(study: StudyConfig) -> None:
    keys = [("left", 0, 0), ("left", 0, 1), ("right", 0, 0), ("right", 0, 1)]
    results = dict.fromkeys([*keys, ("left", 1, 0), ("left", 1, 1), ("right", 1, 0)], result(0.9))
    assert "Seeds: 2; 1 for Two on right." in format_table(TABLE, study, results).notes
    full = results | {("right", 1, 1): result(0.7)}
    assert "Seeds: 2." in format_table(TABLE, study, full).notes


def test_what_failed_and_what_cannot_be_had_is_said(study: StudyConfig) -> None:
    results = {("left", 0, 0): result(0.9, error="the disk is gone"), ("right", 0, 0): result(None)}
    text = format_table(TABLE, study, results)
    shown = dict(zip(text.columns, text.rows[0], strict=True))
    assert (shown["left AUROC"], shown["right AUROC"], shown["mean AUROC"]) == (
        "failed",
        "–",
        "failed",
    )
    assert "One: the disk is gone" in text.notes
    assert any("right: " in note and "no good test images" in note for note in text.notes)


def test_the_files(study: StudyConfig, tmp_path: Path) -> None:
    results = {
        ("left", 0, 0): result(0.9),
        ("left", 1, 0): result(0.8),
        ("right", 0, 0): result(0.7, error="gone"),
    }
    listed = result_records(TABLE, results)
    files = write_table(
        tmp_path / "table9", format_table(TABLE, study, results), listed, "flawmap table 9"
    )
    assert [file.name for file in files] == ["table9.md", "table9.tex", "table9.csv"]
    markdown, latex = files[0].read_text(), files[1].read_text()
    assert "`flawmap table 9`" in markdown
    assert "| Three | not here yet" in markdown.replace("  ", "")
    assert r"\toprule" in latex
    assert r"F1 at 1 \%" in latex
    with files[2].open(encoding="utf-8-sig", newline="") as stream:
        one, two, failed = csv.DictReader(stream)
    assert (one["line"], one["image AUROC"], one["published AUROC"]) == ("One", "90.0", "97.04")
    assert (two["published AUROC"], two["published F1"]) == ("90", "80")
    assert (failed["error"], failed["image AUROC"]) == ("gone", "")
