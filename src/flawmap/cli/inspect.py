"""`flawmap inspect`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from rich.markup import escape

from flawmap.cli.common import (
    EXIT_CODES,
    ExitCode,
    InspectorFile,
    MinAreaOption,
    OutputFolder,
    PrecisionOption,
    app,
)
from flawmap.cli.console import on_one_line, out, progress_bars
from flawmap.cli.images_to_inspect import NamedImage, images_to_inspect, product_folders
from flawmap.cli.notes import print_left_out
from flawmap.cli.products import find_inspectors, match_products, run_jobs
from flawmap.support.progress import track

if TYPE_CHECKING:
    from flawmap.runtime.graph import Precision
    from flawmap.runtime.inference import Inspection, Runtime
    from flawmap.runtime.preprocess import ImageU8
    from flawmap.runtime.record import Record


class _Result(NamedTuple):
    record: Record
    inspection: Inspection
    painted: ImageU8 | None


@app.command(epilog=EXIT_CODES)
def inspect(
    inspector: InspectorFile,
    images: Annotated[
        list[Path],
        typer.Argument(
            help="Images, or folders of them; for a folder of inspectors, folders with a "
            "subfolder for each product.",
            metavar="IMAGES...",
        ),
    ],
    output: OutputFolder = Path("results"),
    min_area: MinAreaOption = 0,
    report: Annotated[
        bool, typer.Option("--report", help="Also write report.html, a page to look through.")
    ] = False,
    precision: PrecisionOption = None,
) -> None:
    """Inspect images: a line each, results.csv, results.jsonl, and overlays with heat maps."""
    job = partial(_inspect, min_area=min_area, report=report, precision=precision)
    if not inspector.is_dir():
        raise typer.Exit(job(inspector, images, output))
    inspectors = find_inspectors(inspector)
    products = product_folders(images)
    jobs = {
        name: partial(job, inspectors[name], [products[name]], output / name)
        for name in match_products(inspectors, products)
    }
    raise typer.Exit(run_jobs(jobs))


def _inspect(
    inspector: Path,
    arguments: list[Path],
    output: Path,
    *,
    min_area: int,
    report: bool,
    precision: Precision | None,
) -> int:
    from flawmap import load
    from flawmap.report.data import from_records
    from flawmap.report.gallery import Gallery
    from flawmap.report.page import write_page

    images, notes, unusable = images_to_inspect(arguments)
    runtime = load(inspector, precision)
    print_left_out(notes, unusable)
    gallery = Gallery(runtime.calibration.threshold)
    records: list[Record] = []
    counts = Counter(undecided=len(unusable))
    try:
        with progress_bars(), _result_files(output) as write_row:
            for result in _results(runtime, images, output, min_area):
                write_row(result.record)
                out.print(_format_record(result.record))
                counts[result.record.verdict] += 1
                if report:
                    records.append(result.record)
                    gallery.add(result.record, result.inspection, painted=result.painted)
    finally:
        # An interruption loses nothing that was inspected.
        if report:
            write_page(output / "report.html", from_records(inspector, runtime, records, gallery))
    return _print_summary(counts, output)


@contextmanager
def _result_files(folder: Path) -> Iterator[Callable[[Record], None]]:
    """Both tables of the results; a record is in them as soon as it is written."""
    from flawmap.runtime.record import CSV_COLUMNS
    from flawmap.support.tables import stream_csv, stream_jsonl

    with (
        stream_csv(folder / "results.csv", CSV_COLUMNS) as to_csv,
        stream_jsonl(folder / "results.jsonl") as to_jsonl,
    ):

        def write(record: Record) -> None:
            to_jsonl(record.to_dict())
            to_csv(record.to_csv_row())

        yield write


def _results(
    runtime: Runtime, images: list[NamedImage], output: Path, min_area: int
) -> Iterator[_Result]:
    """Inspects images one after the other, and writes their overlays."""
    from flawmap.render.encode import write_image
    from flawmap.render.heatmap import overlay
    from flawmap.runtime.record import Record

    inspections = runtime.inspect_many([image.path for image in images])
    tracked = track(inspections, "inspecting", len(images))
    for image, inspection in zip(images, tracked, strict=True):
        record = Record.from_inspection(
            inspection, runtime, min_area=min_area, overlay=image.overlay
        )
        painted = None
        if record.overlay and inspection.verdict and inspection.image is not None:
            painted = overlay(inspection.image, inspection.verdict, min_area)
            write_image(output / record.overlay, painted)
        yield _Result(record, inspection, painted)


def _format_record(record: Record) -> str:
    """An inspected image as one line."""
    if record.score is None or record.p_value is None:
        return f"[yellow]error [/]  {on_one_line(record.error)}"
    word = "[red]reject[/]" if record.verdict == "reject" else "[green]good  [/]"
    numbers = f"p {record.p_value:.4f}  score {record.score:9.4f}"
    return f"{word}  {numbers}  {on_one_line(record.image)}"


def _print_summary(counts: Counter[str], output: Path) -> int:
    good, rejected, unreadable = counts["good"], counts["reject"], counts["undecided"]
    out.print(f"{good} good, {rejected} rejected, {unreadable} unreadable → {escape(str(output))}")
    if unreadable:
        return ExitCode.SOME_UNREADABLE
    return ExitCode.SOME_REJECTED if rejected else ExitCode.ALL_GOOD
