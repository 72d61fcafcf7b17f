"""`flawmap methods` and `flawmap demo`."""

from __future__ import annotations

from rich.box import SIMPLE
from rich.table import Column, Table

from flawmap.cli.common import app
from flawmap.cli.console import out

WIDEST = len("Mousakhan et al. 2024")
"""Of the methods' sources, in characters; longer ones break at a comma."""


@app.command()
def methods() -> None:
    """List the methods."""
    from flawmap.methods import METHODS

    # Made for 80 columns: what must not be broken up says how wide it is.
    table = Table(
        Column("method", min_width=WIDEST),
        "learns",
        Column("stores", no_wrap=True),
        "graph",
        box=SIMPLE,
    )
    for name, recipe in METHODS.items():
        said = [name, recipe.citation] + ["(reconstruction)"] * recipe.reconstruction
        table.add_row(
            "\n".join(said),
            recipe.learned,
            recipe.storage,
            "no" if recipe.factory().not_exportable else "yes",
        )
        table.add_row()
    out.print(table)
    trained = Table(Column("trained", no_wrap=True), "--preset", "", box=SIMPLE)
    for name, recipe in METHODS.items():
        for preset, one in recipe.presets.items():
            trained.add_row(name, preset, one.summary)
    out.print(trained)
    out.print(
        "Stores: beside the backbone, for 500 images at 224 px with WideResNet-50-2 where none "
        "is named."
    )
