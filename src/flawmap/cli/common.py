"""What the commands share: option types, exit codes, and the loop over the products of a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from flawmap.cli.console import err, out
from flawmap.errors import DatasetError, FlawmapError, OptionError

ALL_GOOD = 0
SOME_REJECTED = 1
SOME_UNREADABLE = 2
NOTHING_DONE = 3

EXIT_CODES = f"""Exit code: {ALL_GOOD} all good · {SOME_REJECTED} some rejected ·
{SOME_UNREADABLE} some images or products could not be used (the others were done) ·
{NOTHING_DONE} nothing was done, the message says why."""

SUFFIX = ".flawmap"

app = typer.Typer(
    name="flawmap",
    help="Learns what a good part looks like from images of good parts only, and shows where a new "
    "one differs.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

InspectorFile = Annotated[
    Path,
    typer.Argument(
        help="The file that `flawmap fit` wrote, or a folder of such files.",
        metavar="INSPECTOR.flawmap",
    ),
]
OutputFolder = Annotated[Path, typer.Option("--output", "-o", help="Folder for the results.")]
SeedOption = Annotated[
    int, typer.Option(help="Seed of everything random: the same seed gives the same file.")
]
ConfidenceOption = Annotated[
    float | None,
    typer.Option(
        help="0.95 to be 95 % sure of the budget with this very threshold; else the budget holds "
        "on average."
    ),
]
PrecisionOption = Annotated[
    Literal["f32", "bf16", "int8"] | None,
    typer.Option(
        "--precision",
        help="What the network computes in; unless given, what the file was fitted in (f32 by "
        "default).",
    ),
]
MinAreaOption = Annotated[
    int,
    typer.Option(
        help="Omit regions of fewer pixels; the verdict does not change.", min=0, metavar="PIXELS"
    ),
]


def parse_size(text: str) -> tuple[int, int]:
    """Height and width of a network's input, in pixels.

    Args:
        text: one side of a square, or HEIGHTxWIDTH.

    Raises:
        OptionError: the text is neither.

    >>> parse_size("224"), parse_size("224x320")
    ((224, 224), (224, 320))
    """
    try:
        sides = [int(side) for side in text.lower().split("x")]
    except ValueError:
        sides = []
    if len(sides) not in (1, 2):
        raise OptionError(
            f"size {text!r} is neither a number of pixels nor HEIGHTxWIDTH; write 224 or 224x320"
        )
    return sides[0], sides[-1]


def run_jobs(jobs: Mapping[str, Callable[[], int]], *, titles: bool = True) -> int:
    """Exit code of all jobs together; one that fails stops no other.

    Args:
        jobs: a function for each product, by the product's name; it returns its own exit code.
        titles: whether each product's name is printed before its job, where there are several.

    Returns:
        The highest exit code, or that of unreadable images where some jobs failed.

    Raises:
        FlawmapError: the error of the last job, where all failed.

    >>> run_jobs({"Black": lambda: ALL_GOOD})
    0
    """
    codes: list[int] = []
    failures: list[FlawmapError] = []
    for name, job in jobs.items():
        if titles and len(jobs) > 1:
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
    """Exit code of a job that was run for a data set, or for each product of a folder.

    Args:
        source: the data set or the folder that the user named.
        output: the file to write, or the folder for a file of each product; None for `file` or
            `folder`.
        job: takes a data set and the file to write, and returns an exit code.
        file: name of the file to write unless the user gave one; its suffix is that of all files.
        folder: name of the folder to write to where there are products and the user gave none.

    Raises:
        OptionError: there are products, and `output` is one file.
        FlawmapError: the error of the last job, where all failed.
    """
    from flawmap.data.layouts import find_products

    products = find_products(source)
    suffix = Path(file).suffix
    if not products:
        return run_jobs({source.name: partial(job, source, output or Path(file))})
    target = output or Path(folder)
    if target.suffix == suffix:
        raise OptionError(
            f"{source} holds {len(products)} products, {', '.join(products)}; give -o a folder for "
            "them"
        )
    jobs = {
        name: partial(job, dataset, target / f"{name}{suffix}")
        for name, dataset in products.items()
    }
    return run_jobs(jobs)


def find_inspectors(path: Path) -> dict[str, Path]:
    """Saved inspectors by product: one file, or those of a folder.

    Args:
        path: the file, or the folder.

    Raises:
        DatasetError: the folder holds none.

    >>> list(find_inspectors(Path("line 1/Black.flawmap")))
    ['Black']
    """
    if not path.is_dir():
        return {path.stem: path}
    files = {file.stem: file for file in sorted(path.glob(f"*{SUFFIX}"))}
    if not files:
        raise DatasetError(f"{path}: no {SUFFIX} files in this folder; `flawmap fit` writes them")
    return files


def match_products(inspectors: Mapping[str, Path], products: Mapping[str, Path]) -> list[str]:
    """Names of the products that have an inspector; those that have none are printed as skipped.

    Args:
        inspectors: saved inspectors by product.
        products: folders of images by product.

    Raises:
        DatasetError: no product has an inspector.

    >>> match_products({"Black": Path("Black.flawmap")}, {"Black": Path("Black")})
    ['Black']
    """
    matched = [name for name in products if name in inspectors]
    unmatched = [name for name in products if name not in inspectors]
    if not matched:
        raise DatasetError(
            f"inspectors for {_join(inspectors)}, images of {_join(products)}: no name in common"
        )
    if unmatched:
        err.print(
            f"[yellow]skipped:[/] {escape(_join(unmatched))}: no inspector of that name, only "
            f"{escape(_join(inspectors))}"
        )
    return matched


def _join(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"
