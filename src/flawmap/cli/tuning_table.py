"""The table of a tuning, which `flawmap fit --tune` and `flawmap info` print."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.table import Column, Table

from flawmap.cli.console import on_one_line, out

if TYPE_CHECKING:
    from flawmap.tuning.record import Trial, TuningRecord


_MIN_MINUTES = 2
"""Fewer are shown in seconds."""


def print_tuning(record: TuningRecord) -> None:
    """Print what was tried, and what was chosen and why.

    Args:
        record: of the tuning.
    """
    kinds = list(record.choice.smallest)
    headings = ["AUROC", "behind", *kinds, "ms"]
    columns = [Column(heading, justify="right", no_wrap=True) for heading in headings]
    table = Table(
        "settings",
        *columns,
        box=SIMPLE,
        padding=(0, 1, 0, 0),  # so that it fits into 80 columns
        pad_edge=False,
        show_edge=False,
    )
    for index, trial in enumerate(record.trials):
        cells = map(on_one_line, _cells(trial, kinds))
        table.add_row(*cells, style="bold" if index == record.chosen else None)
    out.print(table)
    out.print(
        f"Tried in {_time_spent(record)}: fitted to "
        f"{record.fitted_images} good images, scored {record.held_out_images} others with "
        f"{record.painted_defects} painted defects of {record.contrast:g} × the noise around. "
        "AUROC of images in %, and how far behind the best with its standard error; dot, "
        "scratch, …: size in pixels of the image from which on 90 % are found at 5 % false "
        "rejects; ms: of an image, one at a time, with one thread for the search.",
        soft_wrap=False,
    )
    if record.untried:
        out.print(f"No time for: {on_one_line('; '.join(record.untried))}", soft_wrap=False)
    choice = record.choice
    size = f"{choice.height} × {choice.width} pixels"
    out.print(f"Chosen at {size}: {on_one_line(record.reason)}.", soft_wrap=False)


def _time_spent(record: TuningRecord) -> str:
    if record.minutes < _MIN_MINUTES:
        return f"{record.seconds:.3g} of {60 * record.minutes:g} seconds"
    return f"{record.seconds / 60:.1f} of {record.minutes:g} minutes"


def _cells(trial: Trial, kinds: Collection[str]) -> list[str]:
    sizes = [trial.smallest.get(kind) for kind in kinds]
    below = f"{100 * trial.shortfall:.1f} ± {100 * trial.shortfall_error:.1f}"
    return [
        trial.label,
        f"{100 * trial.auroc:.1f}",
        below if trial.shortfall else "",
        *("–" if size is None else f"{size:g}" for size in sizes),
        f"{trial.image_ms:.3g}",
    ]
