"""One command for all products of a folder: inspectors, data sets, and the loop over them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from flawmap.cli.common import ExitCode
from flawmap.cli.console import err, on_one_line, out
from flawmap.cli.notes import print_skipped_folders
from flawmap.errors import DatasetError, FlawmapError, OptionError
from flawmap.support.targets import check_file_target, check_folder_target

_INSPECTOR_SUFFIX = ".flawmap"
"""Ends the names of saved inspectors."""


def run_jobs(jobs: Mapping[str, Callable[[], int]], *, titles: bool = True) -> int:
    """Exit code of all jobs together; one that fails stops no other.

    Args:
        jobs: a function for each product, by the product's name; it returns its own exit code.
        titles: whether each product's name is printed before its job, where there are several.

    Returns:
        The highest exit code, or that of unreadable images where some jobs failed.

    Raises:
        FlawmapError: the error of the last job, where all failed.

    >>> run_jobs({"Black": lambda: 1})
    1
    """
    codes: list[int] = []
    failures: list[FlawmapError] = []
    for name, job in jobs.items():
        if titles and len(jobs) > 1:
            out.print(f"[bold]{on_one_line(name)}[/]")
        try:
            codes.append(job())
        except FlawmapError as error:
            failures.append(error)
            if len(jobs) > 1:
                err.print(f"[red]{on_one_line(name)}:[/] {on_one_line(str(error))}")
    if not codes:
        raise failures[-1]
    return ExitCode.SOME_UNREADABLE if failures else max(codes)


def run_per_product(
    source: Path,
    output: str | Path | None,
    job: Callable[[Path, Path], int],
    *,
    file: str,
    folder: str,
) -> int:
    """Exit code of a job that was run for a data set, or for each product of a folder.

    Args:
        source: the data set or the folder that the user named.
        output: the file to write, or the folder for a file of each product; None for `file` or
            `folder`. A folder, or a name that ends in a slash, means `file` in it.
        job: takes a data set and the file to write, and returns an exit code.
        file: name of the file to write unless the user gave one; its suffix is that of all files.
        folder: name of the folder to write to where there are products and the user gave none.

    Raises:
        OptionError: there are products, and `output` is one file.
        WriteError: nothing can be written there; no job was begun.
        FlawmapError: the error of the last job, where all failed.
    """
    from flawmap.data.layouts import find_products

    products = find_products(source)
    suffix = Path(file).suffix
    if not products:
        target = _file_in(output, file) if output else Path(file)
        check_file_target(target)
        return run_jobs({source.name: partial(job, source, target)})
    target = Path(output or folder)
    if target.suffix == suffix:
        raise OptionError(
            f"{source} holds {len(products)} products, {', '.join(products)}; give -o a folder for "
            "them"
        )
    files = {name: target / f"{name}{suffix}" for name in products}
    check_folder_target(target)
    for product_file in files.values():
        check_file_target(product_file)
    jobs = {name: partial(job, dataset, files[name]) for name, dataset in products.items()}
    has_closed = print_skipped_folders(source, products)
    return max(run_jobs(jobs), ExitCode.SOME_UNREADABLE if has_closed else ExitCode.ALL_GOOD)


def _file_in(output: str | Path, file: str) -> Path:
    """The file to write, which has a name of its own only where the user gave one."""
    named = Path(output)
    is_folder = str(output).endswith(("/", os.sep)) or named.is_dir()
    return named / file if is_folder else named


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
    files = {file.stem: file for file in sorted(path.glob(f"*{_INSPECTOR_SUFFIX}"))}
    if not files:
        raise DatasetError(
            f"{path}: no {_INSPECTOR_SUFFIX} files in this folder; `flawmap fit` writes them"
        )
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
            f"[yellow]skipped:[/] {on_one_line(_join(unmatched))}: no inspector of that name, only "
            f"{on_one_line(_join(inspectors))}"
        )
    return matched


def _join(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"
