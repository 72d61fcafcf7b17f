"""`flawmap inspect`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from flawmap.cli.common import (
    ALL_GOOD,
    EXIT_CODES,
    SOME_REJECTED,
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
from flawmap.cli.console import format_record, out, progress_bars
from flawmap.errors import DatasetError
from flawmap.support.progress import track

if TYPE_CHECKING:
    from flawmap.runtime.graph import Precision
    from flawmap.runtime.inference import Inspection

Named = list[tuple[Path, str]]
"""Images, each with the name of its heat map."""


@app.command(epilog=EXIT_CODES)
def inspect(
    part: InspectorFile,
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
    """Judge images: a line each, results.csv, results.jsonl, and heat maps over the images."""
    job = partial(_inspect, min_area=min_area, report=report, precision=precision)
    if not part.is_dir():
        raise typer.Exit(job(part, _find_images(images), output))
    parts = find_inspectors(part)
    found = {
        folder.name: folder
        for root in images
        for folder in sorted(root.glob("*"))
        if folder.is_dir()
    }
    jobs = {
        name: partial(job, parts[name], _find_images([found[name]]), output / name)
        for name in match_products(parts, found)
    }
    raise typer.Exit(run_jobs(jobs))


def _inspect(
    part: Path,
    named: Named,
    output: Path,
    *,
    min_area: int,
    report: bool,
    precision: Precision | None,
) -> int:
    from flawmap import load
    from flawmap.render.encode import write_image
    from flawmap.render.heatmap import overlay
    from flawmap.report.data import from_records
    from flawmap.report.gallery import Gallery
    from flawmap.report.page import write_page as write_report
    from flawmap.support.tables import write_csv, write_jsonl

    runtime = load(part, precision)
    gallery = Gallery(runtime.calibration.threshold)
    records: list[dict[str, Any]] = []
    try:
        with progress_bars():
            inspections = track(
                runtime.inspect_many([path for path, _ in named]), "inspecting", len(named)
            )
            for (path, name), inspection in zip(named, inspections, strict=True):
                records.append(_record(path, inspection, min_area))
                out.print(format_record(records[-1]))
                if inspection.verdict and inspection.image is not None:
                    shown = overlay(inspection.image, inspection.verdict, min_area)
                    write_image(output / "overlays" / f"{name}.png", shown)
                    if report:
                        gallery.add(
                            str(path), None, inspection.verdict, inspection.image, min_area=min_area
                        )
    finally:
        # An interruption loses nothing that was judged.
        write_csv(output / "results.csv", [_flat(record) for record in records])
        write_jsonl(output / "results.jsonl", records)
        if report:
            write_report(output / "report.html", from_records(part, runtime, records, gallery))
    rejected, unreadable = (
        sum(bool(record[column]) for record in records) for column in ("reject", "error")
    )
    good = len(records) - rejected - unreadable
    out.print(f"{good} good, {rejected} rejected, {unreadable} unreadable → {escape(str(output))}")
    return SOME_UNREADABLE if unreadable else SOME_REJECTED if rejected else ALL_GOOD


def _record(path: Path, inspection: Inspection, min_area: int) -> dict[str, Any]:
    verdict = inspection.verdict
    return {
        "path": str(path),
        "score": verdict.score if verdict else None,
        "p_value": verdict.p_value if verdict else None,
        "reject": verdict.reject if verdict else None,
        "regions": [region.to_dict() for region in verdict.regions(min_area)] if verdict else [],
        "error": str(inspection.error or ""),
        "inference_ms": round(inspection.inference_ms, 1),
    }


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    """Say a record in one row: of the regions, how many there are and how many pixels they have."""
    flat: dict[str, Any] = {}
    for column, value in record.items():
        if column == "regions":
            flat |= {"regions": len(value), "area": sum(region["area"] for region in value)}
        else:
            flat[column] = value
    return flat


def _find_images(arguments: list[Path]) -> list[tuple[Path, str]]:
    """Pair each image with the name of its heat map: its place below the folder that was named."""
    from flawmap.data.layouts import images_below

    named: dict[str, Path] = {}
    for argument in arguments:
        below = images_below(argument) if argument.is_dir() else [argument]
        if not below:
            raise DatasetError(f"{argument}: no images in this folder")
        for path in below:
            name = path.relative_to(argument).as_posix() if argument.is_dir() else path.name
            number = sum(other == name or other.startswith(f"{name} (") for other in named)
            named[f"{name} ({number + 1})" if number else name] = path
    return [(path, name) for name, path in named.items()]
