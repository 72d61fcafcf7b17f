"""`flawmap export`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from flawmap.cli.common import ALL_GOOD, EXIT_CODES, InspectorFile, app, find_inspectors, run_jobs
from flawmap.cli.console import out, progress_bars


@app.command(epilog=EXIT_CODES)
def export(
    part: InspectorFile,
    format: Annotated[Literal["openvino", "onnx"], typer.Option(help="Which format.")] = "openvino",
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the files.")] = Path("exported"),
    precision: Annotated[
        Literal["f32", "int8"],
        typer.Option(help="int8 quantises the network; bf16 is chosen where an OpenVINO graph is compiled."),
    ] = "f32",
    quantisation_images: Annotated[
        Path | None, typer.Option(help="Good pictures to scale int8 by: a folder, a data set or a manifest.")
    ] = None,
) -> None:
    """Write a graph for other programs, from prepared pictures to scores and maps, and how to use it in a JSON file."""
    from flawmap.export import export as run

    def write(file: Path) -> int:
        with progress_bars():
            written, apart = run(file, output, format, precision, quantisation_images)
        names = ", ".join(escape(str(path)) for path in written)
        out.print(f"{escape(str(file))} → {names}; golden pictures at most {apart:.1e} off")
        return ALL_GOOD

    raise typer.Exit(run_jobs({name: partial(write, file) for name, file in find_inspectors(part).items()}))
