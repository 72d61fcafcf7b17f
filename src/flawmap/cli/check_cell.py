"""`flawmap check-cell`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from flawmap.cli.common import ExitCode, app
from flawmap.cli.console import out
from flawmap.cli.output import JsonOption, QuietOption, choose_output, print_document
from flawmap.errors import OptionError

if TYPE_CHECKING:
    from flawmap.metrics.feasible import Ratios

_POSSIBLE = 0
_IMPOSSIBLE = 1

_EXIT_CODES = f"""Exit code: {_POSSIBLE} possible · {_IMPOSSIBLE} impossible ·
{ExitCode.NOTHING_DONE} nothing was checked, the message says why."""

_THRESHOLDS = {"any": "any", "f1-max": "the best for F1", "youden": "Youden's"}
"""What the F1's threshold may have been, and the table's words; in the order of `Feasible`."""


@app.command(epilog=_EXIT_CODES)
def check_cell(
    auroc: Annotated[
        float, typer.Argument(help="AUROC per image, in percent, as 99.31.", metavar="AUROC")
    ],
    f1: Annotated[float, typer.Argument(help="F1 per image, in percent, as 98.82.", metavar="F1")],
    positives: Annotated[
        int | None, typer.Option(help="Defective images of the test set, if known.", min=1)
    ] = None,
    negatives: Annotated[
        int | None, typer.Option(help="Good images of the test set, if known.", min=1)
    ] = None,
    threshold: Annotated[
        Literal["any", "f1-max", "youden"],
        typer.Option(
            help="The threshold that the F1 is reported at; it sets the exit code. youden has "
            "the largest TPR − FPR."
        ),
    ] = "any",
    auroc_rounding: Annotated[
        float, typer.Option(help="Points that the AUROC may be off, as printed.", min=0)
    ] = 0.005,
    f1_rounding: Annotated[
        float, typer.Option(help="Points that the F1 may be off, as printed.", min=0)
    ] = 0.0,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Compute what fraction of a test set must be defective for an AUROC and an F1 to come from it.

    Some pairs of the two cannot come from any test set.
    """
    from flawmap.metrics.feasible import feasible_ratios

    choose_output(as_json=as_json, quiet=quiet)
    _check_percent(auroc, f1)
    ratio = _ratio(positives, negatives)
    feasible = feasible_ratios(
        auroc / 100, f1 / 100, auroc_within=auroc_rounding / 100, f1_within=f1_rounding / 100
    )
    by_threshold = dict(zip(_THRESHOLDS, feasible, strict=True))
    out.print(_table(by_threshold, ratio))
    out.print(f"AUROC {auroc:g} % {_tolerance(auroc_rounding)}, F1 {f1:g} % ", end="")
    out.print(f"{_tolerance(f1_rounding)}.")
    requested = by_threshold[threshold]
    impossible = requested.empty if ratio is None else ratio not in requested
    print_document(
        {
            "auroc": auroc,
            "f1": f1,
            "threshold": threshold,
            "possible": not impossible,
            "ratios": {name: _to_dict(ratios) for name, ratios in by_threshold.items()},
        }
    )
    if impossible:
        which = f"no test set of {positives} defective and {negatives} good"
        if requested.empty:
            which = "no fraction of defects"
        where = f"where the threshold is {_THRESHOLDS[threshold]}"
        if threshold == "any":
            where = "whatever the threshold"
        out.print(f"[red]Impossible:[/] {which} fits both metrics, {where}.")
        raise typer.Exit(_IMPOSSIBLE)


def _to_dict(ratios: Ratios) -> dict[str, float | None] | None:
    """The range of ratios; None where none is possible, an end of None where there is no bound."""
    if ratios.empty:
        return None
    return {"low": ratios.low, "high": None if ratios.high == math.inf else ratios.high}


def _check_percent(auroc: float, f1: float) -> None:
    for name, value in (("AUROC", auroc), ("F1", f1)):
        # Written so that a NaN fails it too.
        if not 0 <= value <= 100:
            raise OptionError(f"{name} is {value:g}; give percent, a number from 0 to 100")
    if 0 < auroc <= 1 and 0 < f1 <= 1:
        raise OptionError(
            f"AUROC {auroc:g} and F1 {f1:g} read as fractions; give percent, {100 * auroc:g} "
            f"{100 * f1:g}"
        )


def _ratio(positives: int | None, negatives: int | None) -> float | None:
    if positives is None and negatives is None:
        return None
    if positives is None or negatives is None:
        raise OptionError(
            "a test set has --positives and --negatives; give both, or neither to get their ratio"
        )
    return positives / negatives


def _table(by_threshold: dict[str, Ratios], ratio: float | None) -> Table:
    table = Table("threshold of the F1", "defects per good image", "defect prevalence, %")
    if ratio is not None:
        table.add_column(f"at {ratio:.4f}")
    for name, ratios in by_threshold.items():
        cells = [_THRESHOLDS[name], *_ranges(ratios)]
        if ratio is not None:
            cells.append("possible" if ratio in ratios else "[red]impossible[/]")
        table.add_row(*cells)
    return table


def _ranges(ratios: Ratios) -> tuple[str, str]:
    """The ratios of defective to good images, and the percentages of defects that they are."""
    if ratios.empty:
        return "[red]none[/]", "[red]none[/]"
    low, high = ratios.low, ratios.high
    low_percent = 100 * low / (1 + low)
    high_percent = 100 / (1 + 1 / high)
    ratio_range = _range(f"{low:.4f}", f"{high:.4f}", ratios)
    percent_range = _range(f"{low_percent:.2f}", f"{high_percent:.2f}", ratios)
    return ratio_range, percent_range


def _range(low: str, high: str, ratios: Ratios) -> str:
    if ratios.high == math.inf:
        return f"{low} or more" if ratios.low else "any"
    return f"{low} – {high}" if ratios.low else f"{high} or less"


def _tolerance(rounding: float) -> str:
    return f"to within {rounding:g} points" if rounding else "as it is"
