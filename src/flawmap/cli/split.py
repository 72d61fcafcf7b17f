"""`flawmap split`."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from flawmap.cli.common import ALL_GOOD, EXIT_CODES, SeedOption, app, run_per_product
from flawmap.cli.console import err, out, progress_bars

MAX_PAIRS_SHOWN = 10
"""Pairs of near-duplicates that are listed."""


@app.command(epilog=EXIT_CODES)
def split(
    dataset: Annotated[
        Path,
        typer.Argument(help="Any data set that `fit` takes, or a folder of products.", metavar="DATASET"),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The manifest to write, split.csv unless given; for products a folder."),
    ] = None,
    calibration_fraction: Annotated[float, typer.Option(help="Share of the good pictures to set the threshold with.")] = 0.15,
    test_fraction: Annotated[float, typer.Option(help="Share of the good pictures to test with.")] = 0.25,
    resplit_test: Annotated[
        bool,
        typer.Option("--again", help="Share out the good test pictures anew too; else a test set that is there stays."),
    ] = False,
    seed: SeedOption = 0,
) -> None:
    """Share out the good pictures to train, calibration and test by their names; writes a CSV manifest.

    Pictures that are added later do not move the others; pictures of one group stay together; defects are for testing.
    The manifest holds each file's SHA-256. Whatever takes a data set takes the manifest instead.
    """
    share = partial(_split, calibration=calibration_fraction, test=test_fraction, again=resplit_test, seed=seed)
    raise typer.Exit(run_per_product(dataset, output, share, file="split.csv", folder="splits"))


def _split(dataset: Path, output: Path, *, calibration: float, test: float, again: bool, seed: int) -> int:
    from flawmap.data.duplicates import near_duplicates
    from flawmap.data.layouts import find_samples, write_manifest
    from flawmap.data.splits import SPLITS, SplitFractions
    from flawmap.data.splits import assign_splits as share_out

    shares = SplitFractions(1 - calibration - test, calibration, test)
    with progress_bars():
        samples = share_out(find_samples(dataset), shares, seed=seed, keep_test=not again)
        pairs = near_duplicates(samples)
    write_manifest(output, samples)
    counts = Counter((sample.split, sample.label) for sample in samples)
    said = [f"{counts[name, 0]} good to {name}" for name in SPLITS]
    out.print(f"{', '.join(said)}, {counts['test', 1]} defective to test → {escape(str(output))}")
    if pairs:
        err.print(
            f"[yellow]{len(pairs)} pairs of near-duplicates lie in different splits; test figures will flatter:[/]"
        )
        for pair in pairs[:MAX_PAIRS_SHOWN]:
            bits = "the same bytes" if pair.same_bytes else f"{pair.distance} bits apart"
            err.print(f"  {escape(f'{pair.a.split}: {pair.a.path}  {pair.b.split}: {pair.b.path}')}  ({bits})")
        err.print("Name what belongs together in the manifest's column `group`, and split again with it.")
    return ALL_GOOD
