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
    Computed,
    MinArea,
    Results,
    Saved,
    app,
    for_each,
    matched,
    saved_in,
)
from flawmap.console import bars, err, out, print_metrics, print_products

if TYPE_CHECKING:
    from flawmap.evaluation import Evaluation, Row
    from flawmap.graph import Precision
    from flawmap.metrics.metric import Metric


@app.command(epilog=EXIT_CODES)
def evaluate(
    part: Saved,
    dataset: Annotated[
        Path,
        typer.Argument(
            help="A data set with test pictures: MVTec AD layout or a CSV manifest; or a folder of such products.",
            metavar="DATASET",
        ),
    ],
    output: Results = Path("results"),
    min_area: MinArea = 0,
    precision: Computed = None,
) -> None:
    """Judge pictures whose truth is known, and say how well that went: report.html, metrics.json, scores.csv."""
    from flawmap.data.layouts import find_products
    from flawmap.output import write_json

    parts, products = saved_in(part), find_products(dataset)
    figures: dict[str, dict[str, Metric]] = {}
    job = partial(_evaluate, min_area=min_area, precision=precision, figures=figures)
    if not products and not part.is_dir():
        raise typer.Exit(job(part, dataset, output, part.stem))
    if not part.is_dir():
        parts = dict.fromkeys(products, part)
    jobs = {name: partial(job, parts[name], products[name], output / name, name) for name in matched(parts, products)}
    code = for_each(jobs)
    print_products(figures)
    write_json(output / "metrics.json", {name: _to_json(metrics) for name, metrics in figures.items()})
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
    from flawmap.data.layouts import to_test
    from flawmap.data.splits import check_unchanged, without
    from flawmap.evaluation import evaluate as run
    from flawmap.output import write_csv, write_json
    from flawmap.prepare import Mask
    from flawmap.render.report import Gallery
    from flawmap.render.report import write as write_report
    from flawmap.reporting import of_evaluation
    from flawmap.runtime import Inspection

    samples = to_test(dataset)
    check_unchanged(samples)
    runtime = load(part, precision)
    if (tuning := runtime.tuning) and (taught := len(samples) - len(samples := without(samples, tuning["held_out"]))):
        err.print(f"[yellow]left out:[/] {taught} pictures that the backbone was fine-tuned with")
    gallery = Gallery(runtime.calibration.threshold)

    def show(row: Row, inspection: Inspection, mask: Mask | None) -> None:
        if inspection.verdict and inspection.pixels is not None:
            path, kind = str(row.sample.path), row.sample.kind
            gallery.add(path, kind, inspection.verdict, inspection.pixels, mask, min_area)

    with bars():
        evaluation = run(runtime, samples, seen=show)
    write_csv(output / "scores.csv", [_record(row) for row in evaluation.rows])
    write_json(output / "metrics.json", _summary(evaluation, runtime.calibration.threshold))
    write_report(output / "report.html", of_evaluation(part, runtime, dataset, evaluation, gallery))
    print_metrics(name, evaluation.metrics)
    for row in evaluation.rows:
        if row.error:
            err.print(f"[yellow]error[/]  {escape(row.error)}")
    out.print(f"Look at {escape(str(output / 'report.html'))}")
    figures[name] = evaluation.metrics
    return SOME_UNREADABLE if any(row.error for row in evaluation.rows) else ALL_GOOD


def _record(row: Row) -> dict[str, Any]:
    return {
        "path": str(row.sample.path),
        "kind": row.sample.kind,
        "score": row.score,
        "p_value": row.p_value,
        "reject": row.reject,
        "error": row.error,
        "milliseconds": round(row.milliseconds, 1),
    }


def _summary(evaluation: Evaluation, threshold: float) -> dict[str, Any]:
    return {
        "metrics": _to_json(evaluation.metrics),
        "kinds": {kind: _to_json(metrics) for kind, metrics in evaluation.kinds.items()},
        "threshold": threshold,
        "confusion": evaluation.confusion,
    }


def _to_json(metrics: dict[str, Metric]) -> dict[str, Any]:
    return {name: metric.to_json() for name, metric in metrics.items()}
