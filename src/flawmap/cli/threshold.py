"""`flawmap threshold`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from flawmap.cli.common import ALL_GOOD, EXIT_CODES, Confidence, Saved, app, for_each, saved_in
from flawmap.console import print_budgets, print_learned
from flawmap.errors import OptionError


@app.command(epilog=EXIT_CODES)
def threshold(
    part: Saved,
    false_rejects: Annotated[
        float | None, typer.Option(help="Share of good parts that may be rejected from now on.")
    ] = None,
    confidence: Confidence = None,
) -> None:
    """Show what thresholds there are and what each promises; or set one by its budget, without fitting again."""
    if confidence is not None and false_rejects is None:
        raise OptionError("--confidence goes with a budget; add --false-rejects 0.01, say")
    jobs = {name: partial(_set, file, false_rejects, confidence) for name, file in saved_in(part).items()}
    raise typer.Exit(for_each(jobs))


def _set(part: Path, false_rejects: float | None, confidence: float | None) -> int:
    from flawmap import bundle
    from flawmap.calibration import Budget, Calibration

    manifest, arrays = bundle.load(part)
    calibration = Calibration.from_saved(manifest, arrays)
    if false_rejects is None:
        print_budgets(calibration)
        return ALL_GOOD
    calibration = replace(calibration, budget=Budget(false_rejects, confidence))
    bundle.save(part, manifest | calibration.to_saved()[0], arrays)
    print_learned(calibration, part)
    return ALL_GOOD
