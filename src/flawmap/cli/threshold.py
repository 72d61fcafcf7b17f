"""`flawmap threshold`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from flawmap.cli.common import EXIT_CODES, ConfidenceOption, ExitCode, InspectorFile, app
from flawmap.cli.console import print_fit_summary
from flawmap.cli.products import find_inspectors, run_jobs
from flawmap.cli.tables import print_budgets
from flawmap.errors import OptionError


@app.command(epilog=EXIT_CODES)
def threshold(
    inspector: InspectorFile,
    false_rejects: Annotated[
        float | None,
        typer.Option(help="Fraction of good parts that may be rejected from now on."),
    ] = None,
    confidence: ConfidenceOption = None,
) -> None:
    """List the thresholds and what each guarantees, or set one by its budget without a new fit."""
    if confidence is not None and false_rejects is None:
        raise OptionError("--confidence goes with a budget; add --false-rejects 0.01, say")
    jobs = {
        name: partial(_show_or_set, file, false_rejects, confidence)
        for name, file in find_inspectors(inspector).items()
    }
    raise typer.Exit(run_jobs(jobs))


def _show_or_set(file: Path, false_rejects: float | None, confidence: float | None) -> int:
    from flawmap.runtime import bundle
    from flawmap.runtime.calibration import Budget, Calibration

    manifest, arrays, _ = bundle.load(file)
    calibration = Calibration.from_arrays(manifest.calibration, arrays)
    if false_rejects is None:
        print_budgets(calibration)
        return ExitCode.ALL_GOOD
    calibration = replace(calibration, budget=Budget(false_rejects, confidence))
    bundle.save(file, replace(manifest, calibration=calibration.settings), arrays)
    print_fit_summary(calibration, file)
    return ExitCode.ALL_GOOD
