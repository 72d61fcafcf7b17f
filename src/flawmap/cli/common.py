"""What the commands share: the words they take, their exit codes, and how they go through the products of a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from flawmap.cli.console import err, out
from flawmap.errors import DatasetError, FlawmapError, OptionError

ALL_GOOD, SOME_REJECTED, SOME_UNREADABLE, NOTHING_DONE = 0, 1, 2, 3

EXIT_CODES = f"""Exit code: {ALL_GOOD} all good · {SOME_REJECTED} some rejected · {SOME_UNREADABLE} some pictures or
products could not be used (the others were done) · {NOTHING_DONE} nothing was done, the message says why."""

SUFFIX = ".flawmap"

app = typer.Typer(
    name="flawmap",
    help="Learns what a good part looks like from pictures of good parts only, and shows where a new one differs.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

InspectorFile = Annotated[
    Path, typer.Argument(help="The file that `flawmap fit` wrote, or the folder of them.", metavar="PART.flawmap")
]
OutputFolder = Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")]
SeedOption = Annotated[int, typer.Option(help="Of everything random: the same seed gives the same file.")]
ConfidenceOption = Annotated[
    float | None,
    typer.Option(help="0.95 to be 95 % sure of the budget with this very threshold; else it holds on average."),
]
PrecisionOption = Annotated[
    Literal["f32", "bf16", "int8"] | None,
    typer.Option(
        "--precision", help="What the network computes in; unless given, what the file was fitted in (f32 by default)."
    ),
]
MinAreaOption = Annotated[
    int, typer.Option(help="Leave out regions of fewer pixels; the verdict does not change.", min=0, metavar="PIXELS")
]


def run_jobs(jobs: Mapping[str, Callable[[], int]]) -> int:
    """Do a job for each product; one that fails stops no other. Gives the exit code of all.

    Raises:
        FlawmapError: of the last one, where all failed.
    """
    codes: list[int] = []
    failures: list[FlawmapError] = []
    for name, job in jobs.items():
        if len(jobs) > 1:
            out.print(f"[bold]{escape(name)}[/]")
        try:
            codes.append(job())
        except FlawmapError as error:
            failures.append(error)
            if len(jobs) > 1:
                err.print(f"[red]{escape(name)}:[/] {escape(str(error))}")
    if not codes:
        raise failures[-1]
    return SOME_UNREADABLE if failures else max(codes)


def run_per_product(
    source: Path, output: Path | None, job: Callable[[Path, Path], int], *, file: str, folder: str
) -> int:
    """Do a job for a data set, or for each product of a folder; it takes where that is and the file to write.

    Args:
        source: what the user named.
        output: the file to write, or the folder for one of each product; None for `file` or `folder`.
        job: gives its exit code.
        file: to write where nothing was said; its suffix is that of all of them.
        folder: to write to where there are products and nothing was said.

    Raises:
        OptionError: there are products, and one file to write.
    """
    from flawmap.data.layouts import find_products

    products, suffix = find_products(source), Path(file).suffix
    if not products:
        return run_jobs({source.name: partial(job, source, output or Path(file))})
    into = output or Path(folder)
    if into.suffix == suffix:
        raise OptionError(f"{source} holds {len(products)} products, {', '.join(products)}; give -o a folder for them")
    return run_jobs({name: partial(job, place, into / f"{name}{suffix}") for name, place in products.items()})


def find_inspectors(part: Path) -> dict[str, Path]:
    """Name the saved inspectors: one file, or those of a folder by product.

    Raises:
        DatasetError: the folder holds none.
    """
    if not part.is_dir():
        return {part.stem: part}
    files = {file.stem: file for file in sorted(part.glob(f"*{SUFFIX}"))}
    if not files:
        raise DatasetError(f"{part}: no {SUFFIX} files in this folder; `flawmap fit` writes them")
    return files


def match_products(parts: Mapping[str, Path], products: Mapping[str, Path]) -> list[str]:
    """Name the products that have an inspector, and say which have none.

    Raises:
        DatasetError: none has.
    """
    if not (both := [name for name in products if name in parts]):
        raise DatasetError(f"inspectors for {_list(parts)}, pictures of {_list(products)}: no name in common")
    if without := [name for name in products if name not in parts]:
        err.print(
            f"[yellow]left out:[/] {escape(_list(without))}: no inspector of that name, only {escape(_list(parts))}"
        )
    return both


def _list(names: Mapping[str, Path] | list[str]) -> str:
    return ", ".join(names) or "nothing"
