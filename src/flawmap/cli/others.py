"""`flawmap methods` and `flawmap demo`."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape
from rich.table import Column, Table

from flawmap.cli.common import Results, Seed, app
from flawmap.console import bars, out, print_products


@app.command()
def methods() -> None:
    """List the methods."""
    from flawmap.methods import METHODS

    table = Table(Column("method", no_wrap=True), "source", "learns", "stores", "as a graph")
    for name, recipe in METHODS.items():
        source = f"{recipe.source} (reconstruction)" if recipe.reconstruction else recipe.source
        table.add_row(name, source, recipe.learns, recipe.stores, "no" if recipe.make().not_exportable else "yes")
    out.print(table)
    for name, recipe in METHODS.items():
        presets = ", ".join(f"{preset} ({one.takes})" for preset, one in recipe.presets.items())
        if presets:
            out.print(f"{name} is trained; flawmap fit --method {name} --preset … takes {presets}.")
    out.print("Stores: beside the backbone, for 500 pictures at 224 px with WideResNet-50-2 where none is named.")


@app.command()
def demo(output: Results = Path("demo"), seed: Seed = 0) -> None:
    """Draw memory heat sinks, learn the good ones, find the defects of the others; leaves pictures to look at."""
    from flawmap.demo import run

    with bars():
        result = run(output, seed)
    print_products(result.metrics, means=False)
    out.print(f"Look at [bold]{escape(str(result.contact_sheet))}[/]; pictures and inspectors are beside it.")
    out.print(f"Next: flawmap inspect {escape(str(result.inspector))} {escape(str(result.pictures))} -o results")
