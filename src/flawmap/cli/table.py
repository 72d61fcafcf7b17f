"""`flawmap table`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table as RichTable

from flawmap.cli.common import EXIT_CODES, ExitCode, app
from flawmap.cli.console import on_one_line, out, progress_bars
from flawmap.cli.study import (
    BackboneOption,
    DataOption,
    FineTunePresetOption,
    SizeOption,
    StudyFolder,
    TableFineTuneOption,
    WeightsOption,
    make_study,
)

if TYPE_CHECKING:
    from flawmap.experiments.study import StudyConfig
    from flawmap.experiments.table_text import TableText
    from flawmap.experiments.tables import TableSpec

_SeedsOption = Annotated[
    int, typer.Option(help="How many seeds; what is not random is measured once.", min=1)
]
_MethodPresetOption = Annotated[
    str | None,
    typer.Option(
        help="Preset of those methods that have it and whose line names none; `flawmap methods` "
        "lists them. The images' size stays that of --size.",
        metavar="NAME",
    ),
]

_LABEL_WIDTH = 30
"""Characters of a line's label that stand on one line of the screen."""

_COLUMN_PADDING = 3
"""Characters that a column takes beside its text."""


@app.command(epilog=EXIT_CODES)
def table(
    number: Annotated[
        int, typer.Argument(help="Number in Li et al. 2025.", min=1, max=5, metavar="1…5")
    ],
    data: DataOption = "heatsinks",
    backbone: BackboneOption = None,
    weights: WeightsOption = None,
    size: SizeOption = "224",
    seeds: _SeedsOption = 3,
    finetune: TableFineTuneOption = "synthetic",
    finetune_preset: FineTunePresetOption = "paper",
    preset: _MethodPresetOption = None,
    output: StudyFolder = Path("tables"),
) -> None:
    """Measure a table of the paper on your data: on the screen, and as Markdown, CSV and LaTeX.

    The result of every run is kept on disk; the same command again resumes after those that are
    there. Stopped (Ctrl-C), the table shows what is there.
    """
    from flawmap.experiments.tables import TABLES

    study = make_study(
        data,
        output,
        backbone=backbone,
        weights=weights,
        size=size,
        seeds=seeds,
        finetune=finetune,
        finetune_preset=finetune_preset,
        preset=preset,
    )
    command = _command(number, study, backbone, weights, size)
    spec = TABLES[number]
    if spec.timed:
        _measure_times(number, spec, study, output, command)
        return
    command += f" --seeds {seeds} --finetune {finetune} --finetune-preset {finetune_preset}"
    raise typer.Exit(_measure(number, spec, study, output, command))


def _command(
    number: int, study: StudyConfig, backbone: str | None, weights: str | None, size: str
) -> str:
    """The command as another user would type it: without this machine's folders."""
    words = [f"flawmap table {number} --data {study.source.name}"]
    if backbone:
        words.append(f"--backbone {backbone}")
    if weights:
        words.append(f"--weights {Path(weights).name}")
    if size != "224":
        words.append(f"--size {size}")
    if study.preset:
        words.append(f"--preset {study.preset}")
    return " ".join(words)


def _measure(number: int, spec: TableSpec, study: StudyConfig, output: Path, command: str) -> int:
    from flawmap.experiments.runs import StudyRunner
    from flawmap.experiments.table_text import (
        check_table_target,
        format_table,
        result_records,
        write_table,
    )

    stem = output / f"table{number}-{study.source.name}"
    check_table_target(stem)
    runner = StudyRunner(study, output)
    with progress_bars():
        results = runner.results([line.setup for line in spec.lines])
    text = format_table(spec, study, results)
    _print_table(f"Table {number}", text)
    _print_written(write_table(stem, text, result_records(spec, results), command))
    flawed = any(result.error or result.unreadable for result in results.values())
    return ExitCode.SOME_UNREADABLE if runner.stopped or flawed else ExitCode.ALL_GOOD


def _measure_times(
    number: int, spec: TableSpec, study: StudyConfig, output: Path, command: str
) -> None:
    from flawmap.experiments.table_text import check_table_target, write_table
    from flawmap.experiments.timing import measure_times
    from flawmap.experiments.timing_text import format_timing_table, timing_records
    from flawmap.support.system import describe_system

    # A data set of one product has the product's name.
    stems = {
        product: output / f"table{number}-{'-'.join(dict.fromkeys([study.source.name, product]))}"
        for product in study.products
    }
    for stem in stems.values():
        check_table_target(stem)
    for product, stem in stems.items():
        with progress_bars():
            timings = measure_times(study, [line.setup for line in spec.lines], product)
        text = format_timing_table(spec, study, product, timings, describe_system())
        _print_table(f"Table {number}, {product}", text)
        _print_written(write_table(stem, text, timing_records(spec, product, timings), command))


def _print_table(title: str, text: TableText) -> None:
    """Print a table; columns that do not fit beside each other come below one another."""
    label_width = min(max(len(row[0]) for row in text.rows), _LABEL_WIDTH)
    groups = _column_groups(text, out.width - label_width - _COLUMN_PADDING - 1)
    for group_number, group in enumerate(groups):
        heading = None if group_number else f"{title}: {text.title}"
        table = RichTable(title=heading, title_justify="left")
        table.add_column(on_one_line(text.columns[0]), max_width=_LABEL_WIDTH)
        for index in group:
            table.add_column(on_one_line(text.columns[index]))
        for row in text.rows:
            table.add_row(on_one_line(row[0]), *(on_one_line(row[index]) for index in group))
        out.print(table)
    for note in text.notes:
        out.print(on_one_line(note), soft_wrap=False)


def _column_groups(text: TableText, width: int) -> list[list[int]]:
    """Columns behind the first, in groups that fit into a width with no cell on two lines."""
    groups: list[list[int]] = [[]]
    free = width
    for index in range(1, len(text.columns)):
        cells = [text.columns[index], *(row[index] for row in text.rows)]
        needed = max(len(cell) for cell in cells) + _COLUMN_PADDING
        if needed > free and groups[-1]:
            groups.append([])
            free = width
        groups[-1].append(index)
        free -= needed
    return groups


def _print_written(files: Sequence[Path]) -> None:
    out.print(f"Written: {', '.join(on_one_line(str(file)) for file in files)}")
