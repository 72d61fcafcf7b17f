"""`flawmap table --dry-run`, and the names of a table's files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flawmap.cli.common import ExitCode
from flawmap.cli.console import on_one_line, out, progress_bars
from flawmap.cli.dry_run import images_by_split, print_reads, print_settings, print_writes
from flawmap.cli.output import add_result, print_results
from flawmap.data.layouts import find_samples

if TYPE_CHECKING:
    from flawmap.experiments.runs import RunResult
    from flawmap.experiments.study import StudyConfig
    from flawmap.experiments.tables import TableSpec


def table_stems(number: int, study: StudyConfig, output: Path) -> dict[str, Path]:
    """The files of a table without their suffix, by product; a table of metrics has all products.

    Args:
        number: of the table.
        study: what the runs have in common.
        output: folder of the tables.
    """
    from flawmap.experiments.tables import TABLES

    stem = output / f"table{number}-{study.source.name}"
    if not TABLES[number].timed or not study.source.exists():
        return {study.source.name: stem}
    # A data set of one product has the product's name.
    return {
        product: stem if product == study.source.name else Path(f"{stem}-{product}")
        for product in study.products
    }


def plan_table(number: int, study: StudyConfig, output: Path) -> int:
    """Print which runs are there, which would be measured, and which files would be written.

    Args:
        number: of the table.
        study: what the runs have in common; its data set need not be made yet.
        output: folder of the study.

    Returns:
        The exit code.

    Raises:
        FlawmapError: the same that the measuring would end with.
    """
    from flawmap.experiments.table_text import check_table_target, table_files
    from flawmap.experiments.tables import TABLES

    spec = TABLES[number]
    stems = list(table_stems(number, study, output).values())
    for stem in stems:
        check_table_target(stem, clean=False)
    if study.source.exists():
        print_reads(study.source, _images(study))
        print_settings(_settings(study))
        is_whole = spec.timed or _print_runs(spec, study, output)
    else:
        print_reads(study.source, {})
        print_settings(_settings(study))
        out.print("The data set is not there yet: it would be made, and all of it measured.")
        is_whole = True
    print_writes([file for stem in stems for file in table_files(stem)])
    print_results(by_product=False)
    return ExitCode.ALL_GOOD if is_whole else ExitCode.SOME_UNREADABLE


def _settings(study: StudyConfig) -> dict[str, Any]:
    return {
        "backbone": study.backbone,
        "weights": study.weights,
        "size": list(study.size),
        "seeds": study.seeds,
        "finetune": study.finetune.mode,
        "preset": study.preset,
    }


def _images(study: StudyConfig) -> dict[str, dict[str, int]]:
    images: dict[str, dict[str, int]] = {}
    for product, folder in study.products.items():
        for split, counts in images_by_split(find_samples(folder)).items():
            images[f"{product}, {split}"] = counts
    return images


def _print_runs(spec: TableSpec, study: StudyConfig, output: Path) -> bool:
    """Print the state of each run; whether all of them are possible."""
    from flawmap.experiments.runs import StudyRunner

    with progress_bars():
        known = StudyRunner(study, output).stored_results([line.setup for line in spec.lines])
    runs = [
        _run_to_dict(spec.lines[index].label, product, seed, result)
        for (product, index, seed), result in known.items()
    ]
    add_result(runs=runs)
    for run in runs:
        where = f"{run['line']} on {run['product']}, seed {run['seed']}"
        reason = f": {run['error']}" if run["error"] else ""
        out.print(f"{run['state']:10}  {on_one_line(where + reason)}")
    return not any(run["error"] for run in runs)


def _run_to_dict(line: str, product: str, seed: int, result: RunResult | None) -> dict[str, Any]:
    error = result.error if result else ""
    state = "to measure" if result is None else "there"
    state = "impossible" if error else state
    return {"line": line, "product": product, "seed": seed, "state": state, "error": error}
