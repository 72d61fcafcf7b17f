"""`flawmap demo`."""

from __future__ import annotations

import shlex
from pathlib import Path

from flawmap.cli.common import OutputFolder, SeedOption, app
from flawmap.cli.console import on_one_line, out, progress_bars
from flawmap.cli.tables import print_product_summary
from flawmap.support.targets import check_folder_target


@app.command()
def demo(output: OutputFolder = Path("demo"), seed: SeedOption = 0) -> None:
    """Draw memory heat sinks, fit to the good ones, find the defects of the others.

    Leaves images to look at.
    """
    check_folder_target(output)
    from flawmap.experiments.demo import run

    with progress_bars():
        result = run(output, seed)
    print_product_summary(result.metrics, means=False)
    sheet = on_one_line(str(result.contact_sheet))
    out.print(f"Look at [bold]{sheet}[/]; images and inspectors are beside it.")
    typed = shlex.join([str(result.inspector), str(result.images)])
    out.print(f"Next: flawmap inspect {on_one_line(typed)} -o results")
