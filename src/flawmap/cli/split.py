"""`flawmap split`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flawmap.cli.common import EXIT_CODES, ExitCode, SeedOption, app
from flawmap.cli.console import err, on_one_line, out, progress_bars
from flawmap.cli.notes import print_dataset
from flawmap.cli.products import run_per_product

if TYPE_CHECKING:
    from flawmap.data.duplicates import DuplicatePair

_MAX_PAIRS_SHOWN = 10
"""Pairs of near-duplicates that are listed."""


@app.command(epilog=EXIT_CODES)
def split(
    dataset: Annotated[
        Path,
        typer.Argument(
            help="Any data set that `fit` takes, or a folder of products.", metavar="DATASET"
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="The manifest to write, split.csv unless given; for products a folder.",
            metavar="PATH",
        ),
    ] = None,
    calibration_fraction: Annotated[
        float, typer.Option(help="Fraction of the good images to set the threshold with.")
    ] = 0.15,
    test_fraction: Annotated[
        float, typer.Option(help="Fraction of the good images to test with.")
    ] = 0.25,
    resplit_test: Annotated[
        bool,
        typer.Option(
            "--resplit-test",
            help="Split the good test images too; else a test set that is there stays.",
        ),
    ] = False,
    seed: SeedOption = 0,
) -> None:
    """Split the good images by their names into train, calibration and test; writes a CSV manifest.

    Images that are added later do not move the others; images of one group stay together; defects
    are for testing. The manifest holds each file's SHA-256. Whatever takes a data set takes the
    manifest instead.
    """
    job = partial(
        _split,
        calibration_fraction=calibration_fraction,
        test_fraction=test_fraction,
        keep_test=not resplit_test,
        seed=seed,
    )
    raise typer.Exit(run_per_product(dataset, output, job, file="split.csv", folder="splits"))


def _split(
    dataset: Path,
    output: Path,
    *,
    calibration_fraction: float,
    test_fraction: float,
    keep_test: bool,
    seed: int,
) -> int:
    from flawmap.data.duplicates import near_duplicates
    from flawmap.data.manifest import write_manifest
    from flawmap.data.splits import SPLITS, SplitFractions, assign_splits

    train_fraction = 1 - calibration_fraction - test_fraction
    fractions = SplitFractions(train_fraction, calibration_fraction, test_fraction)
    with progress_bars():
        found = print_dataset(dataset)
        samples = assign_splits(found.samples, fractions, seed=seed, keep_test=keep_test)
        pairs = near_duplicates(samples)
    write_manifest(output, samples)
    counts = Counter((sample.split, sample.label) for sample in samples)
    good = ", ".join(f"{counts[name, 0]} good to {name}" for name in SPLITS)
    out.print(f"{good}, {counts['test', 1]} defective to test → {on_one_line(str(output))}")
    _print_duplicates(pairs)
    return ExitCode.SOME_UNREADABLE if found.unusable else ExitCode.ALL_GOOD


def _print_duplicates(pairs: Sequence[DuplicatePair]) -> None:
    if not pairs:
        return
    err.print(
        f"[yellow]{len(pairs)} pairs of near-duplicates lie in different splits; test metrics will "
        "flatter:[/]"
    )
    for pair in pairs[:_MAX_PAIRS_SHOWN]:
        difference = "the same bytes" if pair.same_bytes else f"{pair.distance} bits differ"
        files = f"{pair.a.split}: {pair.a.path}  {pair.b.split}: {pair.b.path}"
        err.print(f"  {on_one_line(files)}  ({difference})")
    err.print("Name what belongs together in the manifest's column `group`, and split again.")
