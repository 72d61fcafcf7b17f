from __future__ import annotations

import csv
from pathlib import Path

import pytest

from flawmap.experiments.published import MEAN, Published
from flawmap.experiments.runs import MethodSetup, RunResult, StudyConfig
from flawmap.experiments.table_text import (
    ABSENT,
    format_table,
    format_timing_table,
    result_records,
    timing_records,
    write_table,
)
from flawmap.experiments.tables import TABLES, TableLine, TableSpec
from flawmap.experiments.timing import BANK_SECTIONS, IMAGE_SECTIONS, LineTimings
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


def row(auroc: float | None, f1: float = 0.9, error: str = "") -> RunResult:
    metrics = {
        "image AUROC": Metric(auroc, 0.8, 0.99)
        if auroc is not None
        else Metric(unavailable="no good test images"),
        "F1 max": Metric(f1),
        "F1 at the threshold": Metric(0.5),
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
    rows = {(name, 0, seed): row(value) for (name, seed), value in aurocs.items()}
    rows |= {(name, 1, seed): row(value + 0.01) for (name, seed), value in aurocs.items()}
    sheet = format_table(TABLE, study, rows)
    one, two, three = sheet.rows
    assert dict(zip(sheet.columns, one, strict=True)) == {
        "": "One",
        "left AUROC": "91.00 ± 1.41",
        "left F1 max": "90.00 ± 0.00",
        "right AUROC": "80.00 ± 0.00",
        "right F1 max": "90.00 ± 0.00",
        "mean AUROC": "85.50 ± 0.71",
        "mean F1 max": "90.00 ± 0.00",
        "F1 at 1 %": "50.00 ± 0.00",
        "over One": "+0.00 / +0.00",
        "published AUROC": "97.04",
        "published F1": "93.93",
    }
    assert two[sheet.columns.index("over One")] == "+1.00 / +0.00"
    assert set(three[1:-2]) == {ABSENT}
    text = " ".join(sheet.notes)
    assert (
        "left: 761 good images taught, 583 judged, 67.24 % of them defective; rejecting all" in text
    )
    assert "an F1 of 80.41" in text
    assert "Three: not here yet." in text
    assert "TL: synthetic, 5 epochs at 0.001, 2 stages frozen" in text


def test_one_seed_has_the_interval_over_images(products: Path) -> None:
    sheet = format_table(TABLE, StudyConfig(products / "left", seeds=1), {("left", 0, 0): row(0.9)})
    assert sheet.columns[:3] == ["", "left AUROC", "left F1 max"]
    assert sheet.rows[0][1:3] == ["90.00 (80.0–99.0)", "90.00"]


def test_seeds_are_counted_where_products_differ(study: StudyConfig) -> None:
    rows = {(product, 0, seed): row(0.9) for product in ("left", "right") for seed in range(2)}
    rows |= {("left", 1, seed): row(0.8) for seed in range(2)} | {("right", 1, 0): row(0.7)}
    assert "Seeds: 2; 1 for Two on right." in format_table(TABLE, study, rows).notes
    whole = rows | {("right", 1, 1): row(0.7)}
    assert "Seeds: 2." in format_table(TABLE, study, whole).notes


def test_what_failed_and_what_cannot_be_had_is_said(study: StudyConfig) -> None:
    rows = {("left", 0, 0): row(0.9, error="the disk is gone"), ("right", 0, 0): row(None)}
    sheet = format_table(TABLE, study, rows)
    shown = dict(zip(sheet.columns, sheet.rows[0], strict=True))
    assert (shown["left AUROC"], shown["right AUROC"], shown["mean AUROC"]) == (
        "failed",
        "–",
        "failed",
    )
    assert "One: the disk is gone" in sheet.notes
    assert any("right: " in note and "no good test images" in note for note in sheet.notes)


def test_the_files(study: StudyConfig, tmp_path: Path) -> None:
    rows = {
        ("left", 0, 0): row(0.9),
        ("left", 1, 0): row(0.8),
        ("right", 0, 0): row(0.7, error="gone"),
    }
    listed = result_records(TABLE, rows)
    files = write_table(
        tmp_path / "table9", format_table(TABLE, study, rows), listed, "flawmap table 9"
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


def test_times(study: StudyConfig) -> None:
    times = LineTimings(
        dict.fromkeys(IMAGE_SECTIONS, (1.5, 2.25)), dict.fromkeys(BANK_SECTIONS, 10.0), (784, 153)
    )
    many = [times] * len(TABLES[2].lines)
    sheet = format_timing_table(TABLES[2], study, "Black", many, "a machine")
    shown = dict(zip(sheet.columns, sheet.rows[0], strict=True))
    assert (shown["bank"], shown["search ms"], shown["bank built s"]) == (
        "784 × 153",
        "1.50 (2.25)",
        "30.0",
    )
    assert (shown["published: image s"], shown["published: bank"]) == ("0.202", "111")
    other = format_timing_table(TABLES[2], study, "tiles", many, "a machine")
    assert other.rows[0][-2:] == ["0.216", "509"]
    assert timing_records(TABLES[2], "Black", many)[0]["search ms, p95"] == 2.25
