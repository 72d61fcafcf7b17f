"""`flawmap threshold`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from flawmap.cli.common import EXIT_CODES, ConfidenceOption, ExitCode, InspectorFile, app
from flawmap.cli.console import out, print_fit_summary
from flawmap.cli.facts import Facts, calibration_facts
from flawmap.cli.output import JsonOption, QuietOption, add_result, choose_output
from flawmap.cli.products import find_inspectors, run_jobs
from flawmap.errors import OptionError
from flawmap.runtime.calibration import Budget, Calibration
from flawmap.runtime.rank_bounds import false_reject_upper_bound

_LISTED_BUDGETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
"""Fractions of good parts for which `flawmap threshold` lists a threshold."""


@app.command(epilog=EXIT_CODES)
def threshold(
    inspector: InspectorFile,
    false_rejects: Annotated[
        float | None,
        typer.Option(help="Fraction of good parts that may be rejected from now on."),
    ] = None,
    confidence: ConfidenceOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """List the thresholds and what each guarantees, or set one by its budget without a new fit."""
    choose_output(as_json=as_json, quiet=quiet)
    if confidence is not None and false_rejects is None:
        raise OptionError("--confidence goes with a budget; add --false-rejects 0.01, say")
    jobs = {
        name: partial(_show_or_set, file, false_rejects, confidence)
        for name, file in find_inspectors(inspector).items()
    }
    raise typer.Exit(run_jobs(jobs, by_product=inspector.is_dir()))


def _show_or_set(file: Path, false_rejects: float | None, confidence: float | None) -> int:
    from flawmap.runtime import bundle

    manifest, arrays, _ = bundle.load(file)
    calibration = Calibration.from_arrays(manifest.calibration, arrays)
    if false_rejects is None:
        add_result(
            file=str(file),
            calibration=calibration_facts(calibration),
            budgets=[_budget_facts(other) for other in _alternatives(calibration)],
        )
        _print_budgets(calibration)
        return ExitCode.ALL_GOOD
    calibration = replace(calibration, budget=Budget(false_rejects, confidence))
    bundle.save(file, replace(manifest, calibration=calibration.settings), arrays)
    add_result(
        file=str(file),
        calibration=calibration_facts(calibration),
        warnings=calibration.warnings(),
    )
    print_fit_summary(calibration, file)
    return ExitCode.ALL_GOOD


def _print_budgets(calibration: Calibration) -> None:
    """Print which thresholds there are, which one is set, and what each guarantees."""
    table = Table(
        "",
        "budget",
        "threshold",
        "expected",
        "at most, 95 % sure",
        "good images needed",
        title_justify="left",
    )
    for other in _alternatives(calibration):
        mark = "→" if other.budget == calibration.budget else ""
        table.add_row(mark, *_budget_cells(other))
    out.print(table)
    for guarantee in calibration.guarantees():
        out.print(guarantee)


def _alternatives(calibration: Calibration) -> list[Calibration]:
    """The same scores with each of the budgets that are listed, and with the one that is set."""
    budgets = {*map(Budget, _LISTED_BUDGETS), calibration.budget}
    ordered = sorted(budgets, key=lambda budget: budget.false_rejects)
    return [replace(calibration, budget=budget) for budget in ordered]


def _budget_facts(calibration: Calibration) -> Facts:
    budget = calibration.budget
    return {
        "false_rejects": budget.false_rejects,
        "confidence": budget.confidence,
        "threshold": calibration.threshold,
        "expected_false_rejects": calibration.expected_false_rejects,
        "false_reject_bound": calibration.false_reject_bound,
        "images_needed": budget.images_needed,
        "images_missing": calibration.images_missing,
    }


def _budget_cells(calibration: Calibration) -> list[str]:
    budget = calibration.budget
    name = f"{budget.false_rejects:.2%}"
    if budget.confidence:
        name += f", {budget.confidence:.0%} sure"
    count = len(calibration.scores)
    bound = false_reject_upper_bound(budget.rank(count), count)
    needed = f"{budget.images_needed}"
    if calibration.images_missing:
        needed += f", {calibration.images_missing} more"
    return [
        name,
        f"{calibration.threshold:.4f}",
        f"{calibration.expected_false_rejects:.2%}",
        f"{bound:.2%}",
        needed,
    ]
