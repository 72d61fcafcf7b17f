"""`flawmap check-cell`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from flawmap.cli.common import NOTHING_DONE, app
from flawmap.cli.console import out
from flawmap.errors import OptionError

if TYPE_CHECKING:
    from flawmap.metrics.feasible import Ratios

POSSIBLE, IMPOSSIBLE = 0, 1

EXIT_CODES = f"""Exit code: {POSSIBLE} possible · {IMPOSSIBLE} impossible · {NOTHING_DONE} nothing was checked, the
message says why."""

THRESHOLDS = {"any": "any", "f1-max": "the best for F1", "youden": "Youden's"}
"""What the threshold of the F1 may have been, and the table's words for it; in the order of `Feasible`."""


@app.command(epilog=EXIT_CODES)
def check_cell(
    auroc: Annotated[float, typer.Argument(help="Per picture, in percent, as 99.31.", metavar="AUROC")],
    f1: Annotated[float, typer.Argument(help="Per picture, in percent, as 98.82.", metavar="F1")],
    positives: Annotated[int | None, typer.Option(help="Defective pictures of the test set, if known.", min=1)] = None,
    negatives: Annotated[int | None, typer.Option(help="Good pictures of the test set, if known.", min=1)] = None,
    threshold: Annotated[
        Literal["any", "f1-max", "youden"],
        typer.Option(
            help="The one that the F1 is said to be at: sets the exit code; youden has the largest TPR − FPR."
        ),
    ] = "any",
    auroc_rounding: Annotated[float, typer.Option(help="Points that the AUROC may be off, as printed.", min=0)] = 0.005,
    f1_rounding: Annotated[float, typer.Option(help="Points that the F1 may be off, as printed.", min=0)] = 0.0,
) -> None:
    """Say what share of a test set must be defective for an AUROC and an F1 to come from it, or that none can be."""
    from flawmap.metrics.feasible import feasible_ratios

    for name, figure in (("AUROC", auroc), ("F1", f1)):
        # Written so that a NaN fails it too.
        if not 0 <= figure <= 100:
            raise OptionError(f"{name} is {figure:g}; give percent, a number from 0 to 100")
    if 0 < auroc <= 1 and 0 < f1 <= 1:
        raise OptionError(f"AUROC {auroc:g} and F1 {f1:g} read as shares; give percent, {100 * auroc:g} {100 * f1:g}")
    ratio = _ratio(positives, negatives)
    found = feasible_ratios(auroc / 100, f1 / 100, auroc_within=auroc_rounding / 100, f1_within=f1_rounding / 100)
    by_threshold = dict(zip(THRESHOLDS, found, strict=True))
    out.print(_table(by_threshold, ratio))
    out.print(f"AUROC {auroc:g} % {_taken(auroc_rounding)}, F1 {f1:g} % {_taken(f1_rounding)}.")
    asked = by_threshold[threshold]
    if asked.empty if ratio is None else ratio not in asked:
        who = "no share of defects" if asked.empty else f"no test set of {positives} defective and {negatives} good"
        which = "whatever the threshold" if threshold == "any" else f"where the threshold is {THRESHOLDS[threshold]}"
        out.print(f"[red]Impossible:[/] {who} fits both figures, {which}.")
        raise typer.Exit(IMPOSSIBLE)


def _ratio(positives: int | None, negatives: int | None) -> float | None:
    if positives is None and negatives is None:
        return None
    if positives is None or negatives is None:
        raise OptionError("a test set has --positives and --negatives; give both, or neither to be told their ratio")
    return positives / negatives


def _table(by_threshold: dict[str, Ratios], ratio: float | None) -> Table:
    table = Table("threshold of the F1", "defects per good picture", "share of defects, %")
    if ratio is not None:
        table.add_column(f"at {ratio:.4f}")
    for name, ratios in by_threshold.items():
        verdict = [] if ratio is None else ["possible" if ratio in ratios else "[red]impossible[/]"]
        table.add_row(THRESHOLDS[name], *_spans(ratios), *verdict)
    return table


def _spans(ratios: Ratios) -> tuple[str, str]:
    if ratios.empty:
        return "[red]none[/]", "[red]none[/]"
    low, high = ratios.low, ratios.high
    shares = 100 * low / (1 + low), 100 / (1 + 1 / high)
    return _span(f"{low:.4f}", f"{high:.4f}", low, high), _span(f"{shares[0]:.2f}", f"{shares[1]:.2f}", low, high)


def _span(low: str, high: str, least: float, most: float) -> str:
    if most == math.inf:
        return f"{low} or more" if least else "any"
    return f"{low} – {high}" if least else f"{high} or less"


def _taken(rounding: float) -> str:
    return f"to within {rounding:g} points" if rounding else "as it is"
