"""`flawmap export`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from flawmap.cli.common import EXIT_CODES, ExitCode, InspectorFile, app
from flawmap.cli.console import on_one_line, out, progress_bars
from flawmap.cli.products import find_inspectors, run_jobs


@app.command(epilog=EXIT_CODES)
def export(
    inspector: InspectorFile,
    export_format: Annotated[
        Literal["openvino", "onnx"], typer.Option("--format", help="Format of the graph.")
    ] = "openvino",
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the files.")] = Path(
        "exported"
    ),
    precision: Annotated[
        Literal["f32", "int8"],
        typer.Option(
            help="int8 quantises the network; bf16 is chosen where an OpenVINO graph is compiled."
        ),
    ] = "f32",
    quantisation_images: Annotated[
        Path | None,
        typer.Option(
            help="Good images to measure the ranges of int8 on: a folder, a data set or a manifest."
        ),
    ] = None,
) -> None:
    """Write a graph for other programs: preprocessed images in, scores and anomaly maps out.

    A JSON file beside it says how to prepare images and how to decide.
    """
    from flawmap.export import export as export_inspector

    def write(file: Path) -> int:
        with progress_bars():
            result = export_inspector(file, output, export_format, precision, quantisation_images)
        names = ", ".join(on_one_line(str(path)) for path in result.files)
        out.print(
            f"{on_one_line(str(file))} → {names}; scores of the golden images differ by at most "
            f"{result.max_relative_difference:.1e}"
        )
        return ExitCode.ALL_GOOD

    jobs = {name: partial(write, file) for name, file in find_inspectors(inspector).items()}
    raise typer.Exit(run_jobs(jobs))
