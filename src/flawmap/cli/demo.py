"""`flawmap demo`."""

from __future__ import annotations

import shlex
from pathlib import Path

from flawmap.cli.common import OutputFolder, SeedOption, app
from flawmap.cli.console import on_one_line, out, progress_bars
from flawmap.cli.output import JsonOption, QuietOption, choose_output, print_document
from flawmap.cli.tables import metrics_to_dict, print_product_summary
from flawmap.support.targets import check_folder_target


@app.command()
def demo(
    output: OutputFolder = Path("demo"),
    seed: SeedOption = 0,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Draw memory heat sinks, fit to the good ones, find the defects of the others.

    Leaves images to look at.
    """
    choose_output(as_json=as_json, quiet=quiet)
    check_folder_target(output)
    from flawmap.experiments.demo import run

    with progress_bars():
        result = run(output, seed)
    paths = {name: str(path) for name, path in result._asdict().items() if name != "metrics"}
    print_document({"metrics": metrics_to_dict(result.metrics), **paths})
    print_product_summary(result.metrics, means=False)
    sheet = on_one_line(str(result.contact_sheet))
    out.print(f"Look at [bold]{sheet}[/]; images and inspectors are beside it.")
    typed = shlex.join([str(result.inspector), str(result.images)])
    out.print(f"Next: flawmap inspect {on_one_line(typed)} -o results")
