"""`flawmap methods` and `flawmap demo`."""

from __future__ import annotations

from pathlib import Path

from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Column, Table

from flawmap.cli.common import OutputFolder, SeedOption, app
from flawmap.console import out, print_product_summary, progress_bars

WIDEST = len("Mousakhan et al. 2024")
"""Of the methods' sources, in characters; longer ones break at a comma."""


@app.command()
def methods() -> None:
    """List the methods."""
    from flawmap.methods import METHODS

    # Made for 80 columns: what must not be broken up says how wide it is.
    table = Table(Column("method", min_width=WIDEST), "learns", Column("stores", no_wrap=True), "graph", box=SIMPLE)
    for name, recipe in METHODS.items():
        said = [name, recipe.citation] + ["(reconstruction)"] * recipe.reconstruction
        table.add_row("\n".join(said), recipe.learned, recipe.storage, "no" if recipe.factory().not_exportable else "yes")
        table.add_row()
    out.print(table)
    trained = Table(Column("trained", no_wrap=True), "--preset", "", box=SIMPLE)
    for name, recipe in METHODS.items():
        for preset, one in recipe.presets.items():
            trained.add_row(name, preset, one.summary)
    out.print(trained)
    out.print("Stores: beside the backbone, for 500 pictures at 224 px with WideResNet-50-2 where none is named.")


@app.command()
def demo(output: OutputFolder = Path("demo"), seed: SeedOption = 0) -> None:
    """Draw memory heat sinks, learn the good ones, find the defects of the others; leaves pictures to look at."""
    from flawmap.demo import run

    with progress_bars():
        result = run(output, seed)
    print_product_summary(result.metrics, means=False)
    out.print(f"Look at [bold]{escape(str(result.contact_sheet))}[/]; pictures and inspectors are beside it.")
    out.print(f"Next: flawmap inspect {escape(str(result.inspector))} {escape(str(result.pictures))} -o results")
