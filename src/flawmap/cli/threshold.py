"""`flawmap threshold`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from flawmap.cli.common import EXIT_CODES, ConfidenceOption, ExitCode, InspectorFile, app
from flawmap.cli.console import on_one_line, out, print_fit_summary
from flawmap.cli.facts import Facts, calibration_facts, zone_facts
from flawmap.cli.output import JsonOption, QuietOption, add_result, choose_output
from flawmap.cli.products import find_inspectors, run_jobs
from flawmap.errors import OptionError
from flawmap.runtime.calibration import Budget, Calibration
from flawmap.runtime.rank_bounds import false_reject_upper_bound
from flawmap.runtime.zone_calibration import ZoneCalibration, calibration_from_arrays

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
    region: Annotated[
        str | None,
        typer.Option(
            help="The region whose budget is set, where the inspector has regions.", metavar="NAME"
        ),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """List the thresholds and what each guarantees, or set one by its budget without a new fit."""
    choose_output(as_json=as_json, quiet=quiet)
    if confidence is not None and false_rejects is None:
        raise OptionError("--confidence goes with a budget; add --false-rejects 0.01, say")
    if region is not None and false_rejects is None:
        raise OptionError("--region goes with a budget; add --false-rejects 0.01, say")
    budget = None if false_rejects is None else Budget(false_rejects, confidence)
    jobs = {
        name: partial(_show_or_set, file, budget, region)
        for name, file in find_inspectors(inspector).items()
    }
    raise typer.Exit(run_jobs(jobs, by_product=inspector.is_dir()))


def _show_or_set(file: Path, budget: Budget | None, region: str | None) -> int:
    from flawmap.runtime import bundle

    manifest, arrays, _ = bundle.load(file)
    calibration = calibration_from_arrays(manifest.calibration, arrays)
    zones = manifest.preprocessing.zones
    if budget is None:
        add_result(
            file=str(file),
            calibration=calibration_facts(calibration),
            zones=zone_facts(zones, calibration),
            budgets=[_budget_facts(*row) for row in _alternatives(calibration)],
        )
        _print_budgets(calibration)
        return ExitCode.ALL_GOOD
    calibration = _with_budget(calibration, budget, region)
    bundle.save(file, replace(manifest, calibration=calibration.settings), arrays)
    add_result(
        file=str(file),
        calibration=calibration_facts(calibration),
        zones=zone_facts(zones, calibration),
        warnings=calibration.warnings(),
    )
    print_fit_summary(calibration, file)
    return ExitCode.ALL_GOOD


def _with_budget(calibration: Calibration, budget: Budget, region: str | None) -> Calibration:
    """The same scores with a new budget, of a region where there are some."""
    if not isinstance(calibration, ZoneCalibration):
        if region is not None:
            raise OptionError(f"--region {region}: this inspector has no regions; leave it out")
        return replace(calibration, budget=budget)
    if region is None:
        raise OptionError(
            "each region has a budget of its own; say which one is set, by --region "
            f"{' or '.join(calibration.names)}"
        )
    return calibration.with_budget(region, budget)


def _print_budgets(calibration: Calibration) -> None:
    """Print which thresholds there are, which one is set, and what each guarantees."""
    has_zones = isinstance(calibration, ZoneCalibration)
    table = Table(
        "",
        *(["region"] if has_zones else []),
        "budget",
        "threshold",
        "expected",
        "at most, 95 % sure",
        "good images needed",
        title_justify="left",
    )
    for name, other, is_set in _alternatives(calibration):
        region = [on_one_line(name)] if has_zones else []
        table.add_row("→" if is_set else "", *region, *_budget_cells(other))
    out.print(table)
    for guarantee in calibration.guarantees():
        out.print(on_one_line(guarantee))


def _alternatives(calibration: Calibration) -> list[tuple[str, Calibration, bool]]:
    """The same scores with each of the budgets that are listed, and with the one that is set.

    Returns:
        For each the name of its region, empty without regions, and whether it is the one set.
    """
    parts = {"": calibration}
    if isinstance(calibration, ZoneCalibration):
        parts = dict(calibration.by_zone)
    rows = []
    for name, part in parts.items():
        budgets = {*map(Budget, _LISTED_BUDGETS), part.budget}
        ordered = sorted(budgets, key=lambda budget: budget.false_rejects)
        rows += [(name, replace(part, budget=one), one == part.budget) for one in ordered]
    return rows


def _budget_facts(name: str, calibration: Calibration, is_set: bool) -> Facts:
    budget = calibration.budget
    return {
        **({"zone": name, "is_set": is_set} if name else {}),
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
