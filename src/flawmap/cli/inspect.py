"""`flawmap inspect`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

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
from flawmap.cli.dry_run import DryRunOption
from flawmap.cli.images_to_inspect import NamedImage, images_to_inspect, product_folders
from flawmap.cli.inspect_plan import plan_inspection
from flawmap.cli.notes import print_left_out
from flawmap.cli.output import JsonLinesOption, QuietOption, choose_output, print_json_line
from flawmap.cli.products import find_inspectors, match_products, run_jobs
from flawmap.cli.repeats import Repeats
from flawmap.cli.result_folder import REPORT, check_results, open_results, overlay_file
from flawmap.errors import WriteError
from flawmap.support.names import shorten_path
from flawmap.support.progress import track
from flawmap.support.signals import hold_signals

if TYPE_CHECKING:
    from flawmap.report.gallery import Gallery
    from flawmap.runtime.graph import Precision
    from flawmap.runtime.image_types import ImageU8
    from flawmap.runtime.inference import Inspection, Runtime
    from flawmap.runtime.record import Record


_PNG = ".png"
"""Ends the names of overlays."""


_VERDICTS = ("good", "reject", "undecided")


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
    dry_run: DryRunOption = False,
    as_json: JsonLinesOption = False,
    quiet: QuietOption = False,
) -> None:
    """Inspect images: a line each, results.csv, results.jsonl, and overlays with heat maps."""
    choose_output(as_json=as_json, quiet=quiet, in_lines=not dry_run)
    work = plan_inspection if dry_run else _inspect
    job = partial(work, min_area=min_area, report=report, precision=precision)
    if not inspector.is_dir():
        check_results(output, clean=not dry_run)
        single = {inspector.stem: partial(job, inspector, images, output)}
        raise typer.Exit(run_jobs(single, by_product=False))
    inspectors = find_inspectors(inspector)
    products = product_folders(images)
    matched = match_products(inspectors, products)
    for name in matched:
        check_results(output / name, clean=not dry_run)
    jobs = {
        name: partial(job, inspectors[name], [products[name]], output / name) for name in matched
    }
    raise typer.Exit(run_jobs(jobs, by_product=True))


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
    from flawmap.report.gallery import Gallery

    images, passed_over, unusable = images_to_inspect(arguments)
    runtime = load(inspector, precision)
    print_left_out(passed_over, unusable)
    gallery = Gallery()
    outcome = _Outcome(len(images) + len(unusable), output, gallery if report else None)
    outcome.verdicts["undecided"] = len(unusable)
    repeats = Repeats("results.csv has all")
    try:
        with _told_where_stopped(outcome), progress_bars():
            for result in _results(runtime, images, outcome, min_area):
                _print_record(result.record, repeats)
                # A large image is not held while the next one is inspected.
                del result
    finally:
        # An interruption loses nothing that was inspected.
        _write_report(outcome, inspector, runtime)
    for line in repeats.rest():
        _print_error(line)
    return _print_summary(outcome)


@dataclass
class _Outcome:
    """What has been inspected so far; as much is in the tables.

    Args:
        total: number of images to inspect.
        output: folder of the results.
        gallery: of the report; None without one.
        records: of all images, where there is a report.
        verdicts: how many images have which verdict.
        incomplete: whether an overlay, the report, or images are missing that were asked for.
    """

    total: int
    output: Path
    gallery: Gallery | None
    records: list[Record] = field(default_factory=list)
    verdicts: Counter[str] = field(default_factory=Counter)
    incomplete: bool = False

    @property
    def inspected(self) -> int:
        """How many images have been inspected."""
        return sum(self.verdicts.values())

    def add(self, result: _Result) -> None:
        """Count an image, and keep what the report needs of it."""
        record = result.record
        self.verdicts[record.verdict] += 1
        self.incomplete |= record.verdict != "undecided" and not record.overlay
        if self.gallery is not None:
            self.records.append(record)
            self.gallery.add(record, result.inspection, painted=result.painted)


@contextmanager
def _told_where_stopped(outcome: _Outcome) -> Iterator[None]:
    """Say how far the work came that a signal or a full disk stops."""
    try:
        yield
    except KeyboardInterrupt:
        _print_stop(outcome)
        raise
    except WriteError as error:
        if not outcome.inspected:
            raise
        outcome.incomplete = True
        err.print(f"[red]flawmap:[/] {on_one_line(str(error))}")
        _print_stop(outcome)


def _write_report(outcome: _Outcome, inspector: Path, runtime: Runtime) -> None:
    """Write the page, where there is to be one; the tables stand without it."""
    from flawmap.report.data import from_records
    from flawmap.report.page import write_page

    if outcome.gallery is None or not outcome.inspected:
        return
    report = from_records(inspector, runtime, outcome.records, outcome.gallery)
    try:
        write_page(outcome.output / REPORT, report)
    except WriteError as error:
        outcome.incomplete = True
        err.print(f"[red]flawmap:[/] {on_one_line(str(error))}")


def _print_stop(outcome: _Outcome) -> None:
    count = f"{outcome.inspected} of {outcome.total} images"
    folder = on_one_line(str(outcome.output))
    err.print(f"[yellow]stopped after {count}; their results are in {folder}[/]")


def _results(
    runtime: Runtime, images: list[NamedImage], outcome: _Outcome, min_area: int
) -> Iterator[_Result]:
    """Inspects images one after the other; each is in the tables before it comes out."""
    from flawmap.runtime.images.depth_hint import depth_hint
    from flawmap.runtime.record import Record

    hint = ""
    with open_results(outcome.output) as write_row:
        inspections = runtime.inspect_many([image.path for image in images])
        remaining = iter(images)
        for inspection in track(inspections, "inspecting", len(images)):
            image = next(remaining)
            if not hint and inspection.image is not None:
                hint = depth_hint(image.path, inspection.image, runtime.preprocessing)
                if hint:
                    err.print(f"[yellow]{on_one_line(hint)}[/]")
            overlay = shorten_path(image.overlay.removesuffix(_PNG), _PNG)
            record = Record.from_inspection(inspection, runtime, min_area=min_area, overlay=overlay)
            # A signal finds overlay, row and count of an image, or none of them.
            with hold_signals():
                result = _with_overlay(_Result(record, inspection, None), outcome.output, min_area)
                write_row(result.record)
                outcome.add(result)
            yield result
            del inspection, result


def _with_overlay(result: _Result, folder: Path, min_area: int) -> _Result:
    """The same, with its overlay on the disk; where that cannot be, the record says why."""
    from flawmap.render.encode import write_image
    from flawmap.render.heatmap import overlay

    record, inspection, _ = result
    if not record.overlay or inspection.verdict is None or inspection.image is None:
        return result
    painted = overlay(inspection.image, inspection.verdict, min_area)
    try:
        write_image(overlay_file(folder, record.overlay), painted)
    except WriteError as error:
        record = replace(record, overlay="", error=f"{record.image}: no overlay: {error}")
    return _Result(record, inspection, painted)


def _print_record(record: Record, repeats: Repeats) -> None:
    """Print an inspected image as one line, and a second one where its overlay is missing."""
    print_json_line(record.to_dict)
    if record.score is not None and record.p_value is not None:
        word = "[red]reject[/]" if record.verdict == "reject" else "[green]good  [/]"
        numbers = f"p {record.p_value:.4f}  score {record.score:9.4f}"
        if record.zone:
            numbers += f"  in {on_one_line(record.zone)}"
        out.print(f"{word}  {numbers}  {on_one_line(record.image)}")
    if record.error and repeats.shows(record.error, record.image):
        _print_error(record.error)


def _print_error(error: str) -> None:
    # Beside the lines of the other images; where there are none, with the other errors.
    console = err if out.quiet else out
    console.print(f"[yellow]error [/]  {on_one_line(error)}")


def _print_summary(outcome: _Outcome) -> int:
    good, rejected, unreadable = (outcome.verdicts[word] for word in _VERDICTS)
    folder = on_one_line(str(outcome.output))
    out.print(f"{good} good, {rejected} rejected, {unreadable} unreadable → {folder}")
    if unreadable or outcome.incomplete:
        return ExitCode.SOME_UNREADABLE
    return ExitCode.SOME_REJECTED if rejected else ExitCode.ALL_GOOD
