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
from flawmap.cli.dry_run import (
    DryRunOption,
    images_by_split,
    print_reads,
    print_settings,
    print_writes,
    why_not_opened,
)
from flawmap.cli.facts import excluded_images, inspector_settings
from flawmap.cli.notes import print_left_out, print_skipped_folders
from flawmap.cli.output import JsonOption, QuietOption, add_result, choose_output
from flawmap.cli.products import find_inspectors, match_products, run_jobs, write_all
from flawmap.cli.repeats import sum_up
from flawmap.cli.tables import (
    metrics_to_dict,
    print_defects_found,
    print_metrics,
    print_product_summary,
)
from flawmap.support.tables import write_csv, write_json
from flawmap.support.targets import check_file_target, check_folder_target

if TYPE_CHECKING:
    from flawmap.data.sample import FoundSamples, Sample
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
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Inspect labelled images and compare with the truth: how many defects are found.

    Writes report.html, metrics.json, metrics.csv and scores.csv.
    """
    choose_output(as_json=as_json, quiet=quiet)
    from flawmap.data.layouts import find_products

    inspectors = find_inspectors(inspector)
    products = find_products(dataset)
    metrics: dict[str, dict[str, Metric]] = {}
    job = partial(_plan if dry_run else _evaluate, min_area, precision, metrics)
    if not products and not inspector.is_dir():
        _check_targets([output], clean=not dry_run)
        single = {inspector.stem: partial(job, inspector, dataset, output, inspector.stem)}
        raise typer.Exit(run_jobs(single, by_product=False))
    if not inspector.is_dir():
        inspectors = dict.fromkeys(products, inspector)
    matched = match_products(inspectors, products)
    _check_targets([output, *(output / name for name in matched)], clean=not dry_run)
    jobs = {
        name: partial(job, inspectors[name], products[name], output / name, name)
        for name in matched
    }
    has_closed = print_skipped_folders(dataset, products)
    code = max(
        run_jobs(jobs, by_product=True),
        ExitCode.SOME_UNREADABLE if has_closed else ExitCode.ALL_GOOD,
    )
    if dry_run:
        print_writes([output / "metrics.json"])
        raise typer.Exit(code)
    print_product_summary(metrics)
    values = metrics_to_dict(metrics)
    is_whole = write_all([partial(write_json, output / "metrics.json", values)], already=True)
    raise typer.Exit(code if is_whole else ExitCode.SOME_UNREADABLE)


def _check_targets(folders: Sequence[Path], *, clean: bool) -> None:
    for folder in folders:
        check_folder_target(folder, clean=clean)
        for file in _FILES:
            check_file_target(folder / file, clean=clean)


def _plan(
    min_area: int,
    precision: Precision | None,
    metrics: dict[str, dict[str, Metric]],
    inspector: Path,
    dataset: Path,
    output: Path,
    name: str,
) -> int:
    """Print what would be done with a product."""
    from flawmap.data.layouts import find_dataset

    del metrics, name
    settings = inspector_settings(inspector, precision)
    with progress_bars():
        found = find_dataset(dataset)
        samples = _test_samples(found, excluded_images(inspector))
    unusable = [reason for sample in samples if (reason := why_not_opened(sample.path))]
    print_left_out(found.notes, [*found.unusable, *unusable])
    print_reads(dataset, images_by_split(samples))
    print_settings({**settings, "min_area": min_area})
    print_writes([output / file for file in _FILES])
    if len(unusable) == len(samples):
        return ExitCode.NOTHING_DONE
    return ExitCode.SOME_UNREADABLE if unusable or found.unusable else ExitCode.ALL_GOOD


def _evaluate(
    min_area: int,
    precision: Precision | None,
    metrics: dict[str, dict[str, Metric]],
    inspector: Path,
    dataset: Path,
    output: Path,
    name: str,
) -> int:
    from flawmap import load
    from flawmap.data.layouts import find_dataset
    from flawmap.report.data import RANKED_BY_REGION, describe_counted, from_evaluation
    from flawmap.report.gallery import Gallery
    from flawmap.report.page import write_page

    runtime = load(inspector, precision)
    with progress_bars():
        found = find_dataset(dataset)
    print_left_out(found.notes, found.unusable)
    record = runtime.finetune_record
    samples = _test_samples(found, record["excluded_sha256"] if record else [])
    gallery = Gallery(min_area=min_area)
    evaluation = _run(runtime, samples, min_area, gallery)
    scores = [record.to_csv_row() for record in evaluation.records]
    summary = _summary(evaluation, runtime.calibration.threshold)
    errors = [record.error for record in evaluation.records if record.error]
    report = from_evaluation(inspector, runtime, dataset, evaluation, gallery)
    writers = (
        partial(write_csv, output / "scores.csv", scores),
        partial(write_json, output / "metrics.json", summary),
        partial(write_csv, output / "metrics.csv", _metric_rows(evaluation)),
        partial(write_page, output / "report.html", report),
    )
    is_whole = write_all(writers)
    files = [str(output / file) for file in _FILES]
    add_result(**summary, images=len(samples), errors=errors, files=files)
    print_defects_found(name, evaluation)
    print_metrics(name, evaluation.metrics)
    ranked_by_region = [RANKED_BY_REGION] if runtime.preprocessing.zones else []
    for line in [*describe_counted(evaluation), *ranked_by_region]:
        out.print(line)
    for error in sum_up(errors, "scores.csv has all"):
        err.print(f"[yellow]error[/]  {on_one_line(error)}")
    if is_whole:
        out.print(f"Look at {on_one_line(str(output / 'report.html'))}")
    metrics[name] = evaluation.metrics
    is_whole = is_whole and not errors and not found.unusable
    return ExitCode.ALL_GOOD if is_whole else ExitCode.SOME_UNREADABLE


def _test_samples(found: FoundSamples, excluded: Sequence[str]) -> list[Sample]:
    """The labelled test images, but for those that the backbone was fine-tuned with."""
    from flawmap.data.layouts import labelled_test_samples
    from flawmap.data.splits import check_unchanged, exclude_hashes

    samples = labelled_test_samples(found)
    check_unchanged(samples)
    usable = exclude_hashes(samples, excluded)
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
    return {
        "metrics": metrics_to_dict({"": evaluation.metrics})[""],
        "by_defect_type": metrics_to_dict(evaluation.by_defect_type),
        "threshold": threshold,
        "confusion": evaluation.confusion,
        "counted_share": evaluation.counted_share,
        "hidden_defects": list(evaluation.hidden_defects),
    }


def _metric_rows(evaluation: Evaluation) -> list[TableRow]:
    """A row for each metric, of all images with an empty defect type, then of each type."""
    rows: list[TableRow] = []
    for defect_type, metrics in [("", evaluation.metrics), *evaluation.by_defect_type.items()]:
        for name, metric in metrics.items():
            rows.append({"defect_type": defect_type, "metric": name, **vars(metric)})
    return rows
