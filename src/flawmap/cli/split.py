"""`flawmap split`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flawmap.cli.common import EXIT_CODES, ExitCode, SeedOption, app
from flawmap.cli.console import err, on_one_line, out, progress_bars
from flawmap.cli.dry_run import (
    DryRunOption,
    images_by_split,
    print_reads,
    print_settings,
    print_writes,
)
from flawmap.cli.notes import print_dataset
from flawmap.cli.output import JsonOption, QuietOption, add_result, choose_output
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
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Split the good images by their names into train, calibration and test; writes a CSV manifest.

    Images that are added later do not move the others; images of one group stay together; defects
    are for testing. The manifest holds each file's SHA-256. Whatever takes a data set takes the
    manifest instead.
    """
    choose_output(as_json=as_json, quiet=quiet)
    job = partial(
        _split,
        calibration_fraction=calibration_fraction,
        test_fraction=test_fraction,
        keep_test=not resplit_test,
        seed=seed,
        dry_run=dry_run,
    )
    code = run_per_product(
        dataset, output, job, file="split.csv", folder="splits", clean=not dry_run
    )
    raise typer.Exit(code)


def _split(
    dataset: Path,
    output: Path,
    *,
    calibration_fraction: float,
    test_fraction: float,
    keep_test: bool,
    seed: int,
    dry_run: bool,
) -> int:
    from flawmap.data.duplicates import near_duplicates
    from flawmap.data.layouts import find_dataset
    from flawmap.data.manifest import write_manifest
    from flawmap.data.splits import SPLITS, SplitFractions, assign_splits

    train_fraction = 1 - calibration_fraction - test_fraction
    fractions = SplitFractions(train_fraction, calibration_fraction, test_fraction)
    with progress_bars():
        found = find_dataset(dataset)
        print_dataset(found)
        samples = assign_splits(found.samples, fractions, seed=seed, keep_test=keep_test)
        pairs = [] if dry_run else near_duplicates(samples)
    counts = Counter((sample.split, sample.label) for sample in samples)
    code = ExitCode.SOME_UNREADABLE if found.unusable else ExitCode.ALL_GOOD
    good = ", ".join(f"{counts[name, 0]} good to {name}" for name in SPLITS)
    summary = f"{good}, {counts['test', 1]} defective to test"
    add_result(images=images_by_split(samples))
    if dry_run:
        print_reads(dataset, images_by_split(found.samples))
        print_settings({**vars(fractions), "seed": seed})
        out.print(f"Would split: {summary}")
        print_writes([output])
        return code
    write_manifest(output, samples)
    add_result(file=str(output), near_duplicates=[_pair_to_dict(pair) for pair in pairs])
    out.print(f"{summary} → {on_one_line(str(output))}")
    _print_duplicates(pairs)
    return code


def _pair_to_dict(pair: DuplicatePair) -> dict[str, Any]:
    return {
        "images": [str(pair.a.path), str(pair.b.path)],
        "splits": [pair.a.split, pair.b.split],
        "same_bytes": pair.same_bytes,
        "distance": pair.distance,
    }


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
