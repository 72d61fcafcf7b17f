"""`flawmap demo`."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape

from flawmap.cli.common import OutputFolder, SeedOption, app
from flawmap.cli.console import out, progress_bars
from flawmap.cli.tables import print_product_summary


@app.command()
def demo(output: OutputFolder = Path("demo"), seed: SeedOption = 0) -> None:
    """Draw memory heat sinks, fit to the good ones, find the defects of the others.

    Leaves images to look at.
    """
    from flawmap.experiments.demo import run

    with progress_bars():
        result = run(output, seed)
    print_product_summary(result.metrics, means=False)
    out.print(
        f"Look at [bold]{escape(str(result.contact_sheet))}[/]; images and inspectors are beside "
        f"it."
    )
    out.print(
        f"Next: flawmap inspect {escape(str(result.inspector))} {escape(str(result.images))} -o "
        f"results"
    )
