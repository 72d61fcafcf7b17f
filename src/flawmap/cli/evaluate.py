"""`flawmap evaluate`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from flawmap.cli.common import (
    ALL_GOOD,
    EXIT_CODES,
    SOME_UNREADABLE,
    InspectorFile,
    MinAreaOption,
    OutputFolder,
    PrecisionOption,
    app,
    find_inspectors,
    match_products,
    run_jobs,
)
from flawmap.cli.console import err, out, progress_bars
from flawmap.cli.tables import print_metrics, print_product_summary

if TYPE_CHECKING:
    from flawmap.evaluation import Evaluation, Record
    from flawmap.metrics.metric import Metric
    from flawmap.runtime.graph import Precision


@app.command(epilog=EXIT_CODES)
def evaluate(
    part: InspectorFile,
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
    """Judge images whose truth is known, and say how well that went.

    Report.html, metrics.json, scores.csv.
    """
    from flawmap.data.layouts import find_products
    from flawmap.support.tables import write_json

    parts, products = find_inspectors(part), find_products(dataset)
    figures: dict[str, dict[str, Metric]] = {}
    job = partial(_evaluate, min_area=min_area, precision=precision, figures=figures)
    if not products and not part.is_dir():
        raise typer.Exit(job(part, dataset, output, part.stem))
    if not part.is_dir():
        parts = dict.fromkeys(products, part)
    jobs = {
        name: partial(job, parts[name], products[name], output / name, name)
        for name in match_products(parts, products)
    }
    code = run_jobs(jobs)
    print_product_summary(figures)
    write_json(
        output / "metrics.json", {name: _to_json(metrics) for name, metrics in figures.items()}
    )
    raise typer.Exit(code)


def _evaluate(
    part: Path,
    dataset: Path,
    output: Path,
    name: str,
    *,
    min_area: int,
    precision: Precision | None,
    figures: dict[str, dict[str, Metric]],
) -> int:
    from flawmap import load
    from flawmap.data.layouts import labelled_test_samples
    from flawmap.data.splits import check_unchanged, exclude_hashes
    from flawmap.evaluation import evaluate as run
    from flawmap.report.data import from_evaluation
    from flawmap.report.gallery import Gallery
    from flawmap.report.page import write_page as write_report
    from flawmap.runtime.inference import Inspection
    from flawmap.runtime.preprocess import Mask
    from flawmap.support.tables import write_csv, write_json

    samples = labelled_test_samples(dataset)
    check_unchanged(samples)
    runtime = load(part, precision)
    if (tuning := runtime.finetune_record) and (
        taught := len(samples) - len(samples := exclude_hashes(samples, tuning["excluded_sha256"]))
    ):
        err.print(f"[yellow]left out:[/] {taught} images that the backbone was fine-tuned with")
    gallery = Gallery(runtime.calibration.threshold)

    def show(row: Record, inspection: Inspection, mask: Mask | None) -> None:
        if inspection.verdict and inspection.image is not None:
            path, kind = str(row.sample.path), row.sample.defect_type
            gallery.add(path, kind, inspection.verdict, inspection.image, mask, min_area)

    with progress_bars():
        evaluation = run(runtime, samples, on_image=show)
    write_csv(output / "scores.csv", [_record(row) for row in evaluation.records])
    write_json(output / "metrics.json", _summary(evaluation, runtime.calibration.threshold))
    write_report(
        output / "report.html", from_evaluation(part, runtime, dataset, evaluation, gallery)
    )
    print_metrics(name, evaluation.metrics)
    for row in evaluation.records:
        if row.error:
            err.print(f"[yellow]error[/]  {escape(row.error)}")
    out.print(f"Look at {escape(str(output / 'report.html'))}")
    figures[name] = evaluation.metrics
    return SOME_UNREADABLE if any(row.error for row in evaluation.records) else ALL_GOOD


def _record(row: Record) -> dict[str, Any]:
    return {
        "path": str(row.sample.path),
        "defect_type": row.sample.defect_type,
        "score": row.score,
        "p_value": row.p_value,
        "reject": row.reject,
        "error": row.error,
        "inference_ms": round(row.inference_ms, 1),
    }


def _summary(evaluation: Evaluation, threshold: float) -> dict[str, Any]:
    return {
        "metrics": _to_json(evaluation.metrics),
        "by_defect_type": {
            kind: _to_json(metrics) for kind, metrics in evaluation.by_defect_type.items()
        },
        "threshold": threshold,
        "confusion": evaluation.confusion,
    }


def _to_json(metrics: dict[str, Metric]) -> dict[str, Any]:
    return {name: metric.to_dict() for name, metric in metrics.items()}
