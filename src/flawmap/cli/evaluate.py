"""`flawmap evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flawmap.cli.common import (
    EXIT_CODES,
    ExitCode,
    InspectorFile,
    MinAreaOption,
    OutputFolder,
    PrecisionOption,
    app,
)
from flawmap.cli.console import err, on_one_line, out, progress_bars
from flawmap.cli.notes import print_left_out, print_skipped_folders
from flawmap.cli.products import find_inspectors, match_products, run_jobs
from flawmap.cli.tables import print_defects_found, print_metrics, print_product_summary
from flawmap.support.targets import check_file_target, check_folder_target

if TYPE_CHECKING:
    from flawmap.data.sample import Sample
    from flawmap.evaluation import Evaluation
    from flawmap.metrics.metric import Metric
    from flawmap.report.gallery import Gallery
    from flawmap.runtime.graph import Precision
    from flawmap.runtime.inference import Runtime
    from flawmap.support.tables import TableRow

_FILES = ("scores.csv", "metrics.json", "metrics.csv", "report.html")
"""What is written of a product, when all of its images are inspected."""


@app.command(epilog=EXIT_CODES)
def evaluate(
    inspector: InspectorFile,
    dataset: Annotated[
        Path,
        typer.Argument(
            help="A data set with test images: MVTec AD layout or a CSV manifest; or a folder of "
            "such products.",
            metavar="DATASET",
        ),
    ],
    output: OutputFolder = Path("results"),
    min_area: MinAreaOption = 0,
    precision: PrecisionOption = None,
) -> None:
    """Inspect labelled images and compare with the truth: how many defects are found.

    Writes report.html, metrics.json, metrics.csv and scores.csv.
    """
    from flawmap.data.layouts import find_products
    from flawmap.support.tables import write_json

    inspectors = find_inspectors(inspector)
    products = find_products(dataset)
    metrics: dict[str, dict[str, Metric]] = {}
    job = partial(_evaluate, min_area=min_area, precision=precision, metrics=metrics)
    if not products and not inspector.is_dir():
        _check_targets([output])
        raise typer.Exit(job(inspector, dataset, output, inspector.stem))
    if not inspector.is_dir():
        inspectors = dict.fromkeys(products, inspector)
    matched = match_products(inspectors, products)
    _check_targets([output, *(output / name for name in matched)])
    jobs = {
        name: partial(job, inspectors[name], products[name], output / name, name)
        for name in matched
    }
    has_closed = print_skipped_folders(dataset, products)
    code = max(run_jobs(jobs), ExitCode.SOME_UNREADABLE if has_closed else ExitCode.ALL_GOOD)
    print_product_summary(metrics)
    values = {name: _to_dict(of_product) for name, of_product in metrics.items()}
    write_json(output / "metrics.json", values)
    raise typer.Exit(code)


def _check_targets(folders: Sequence[Path]) -> None:
    for folder in folders:
        check_folder_target(folder)
        for file in _FILES:
            check_file_target(folder / file)


def _evaluate(
    inspector: Path,
    dataset: Path,
    output: Path,
    name: str,
    *,
    min_area: int,
    precision: Precision | None,
    metrics: dict[str, dict[str, Metric]],
) -> int:
    from flawmap import load
    from flawmap.data.layouts import find_dataset
    from flawmap.report.data import from_evaluation
    from flawmap.report.gallery import Gallery
    from flawmap.report.page import write_page
    from flawmap.support.tables import write_csv, write_json

    runtime = load(inspector, precision)
    with progress_bars():
        found = find_dataset(dataset)
    print_left_out(found.notes, found.unusable)
    samples = _test_samples(dataset, runtime)
    gallery = Gallery(runtime.calibration.threshold, min_area=min_area)
    evaluation = _run(runtime, samples, min_area, gallery)
    write_csv(output / "scores.csv", [record.to_csv_row() for record in evaluation.records])
    summary = _summary(evaluation, runtime.calibration.threshold)
    write_json(output / "metrics.json", summary)
    write_csv(output / "metrics.csv", _metric_rows(evaluation))
    report = from_evaluation(inspector, runtime, dataset, evaluation, gallery)
    write_page(output / "report.html", report)
    print_defects_found(name, evaluation)
    print_metrics(name, evaluation.metrics)
    errors = [record.error for record in evaluation.records if record.error]
    for error in errors:
        err.print(f"[yellow]error[/]  {on_one_line(error)}")
    out.print(f"Look at {on_one_line(str(output / 'report.html'))}")
    metrics[name] = evaluation.metrics
    return ExitCode.SOME_UNREADABLE if errors or found.unusable else ExitCode.ALL_GOOD


def _test_samples(dataset: Path, runtime: Runtime) -> list[Sample]:
    """The labelled test images, but for those that the backbone was fine-tuned with."""
    from flawmap.data.layouts import labelled_test_samples
    from flawmap.data.splits import check_unchanged, exclude_hashes

    samples = labelled_test_samples(dataset)
    check_unchanged(samples)
    if runtime.finetune_record is None:
        return samples
    usable = exclude_hashes(samples, runtime.finetune_record["excluded_sha256"])
    if skipped := len(samples) - len(usable):
        err.print(f"[yellow]skipped:[/] {skipped} images that the backbone was fine-tuned with")
    return usable


def _run(
    runtime: Runtime, samples: Sequence[Sample], min_area: int, gallery: Gallery
) -> Evaluation:
    from flawmap.evaluation import evaluate

    with progress_bars():
        return evaluate(runtime, samples, min_area=min_area, on_image=gallery.add)


def _summary(evaluation: Evaluation, threshold: float) -> dict[str, Any]:
    by_defect_type = evaluation.by_defect_type.items()
    return {
        "metrics": _to_dict(evaluation.metrics),
        "by_defect_type": {name: _to_dict(metrics) for name, metrics in by_defect_type},
        "threshold": threshold,
        "confusion": evaluation.confusion,
    }


def _metric_rows(evaluation: Evaluation) -> list[TableRow]:
    """A row for each metric, of all images with an empty defect type, then of each type."""
    rows: list[TableRow] = []
    for defect_type, metrics in [("", evaluation.metrics), *evaluation.by_defect_type.items()]:
        for name, metric in metrics.items():
            rows.append({"defect_type": defect_type, "metric": name, **vars(metric)})
    return rows


def _to_dict(metrics: dict[str, Metric]) -> dict[str, Any]:
    return {name: metric.to_dict() for name, metric in metrics.items()}
