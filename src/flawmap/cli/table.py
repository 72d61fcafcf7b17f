"""`flawmap table` and `flawmap figure`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Table as RichTable

from flawmap.cli.common import ALL_GOOD, EXIT_CODES, SOME_UNREADABLE, app
from flawmap.cli.console import out, progress_bars
from flawmap.cli.fit import make_finetune_config, parse_size
from flawmap.errors import OptionError

if TYPE_CHECKING:
    from flawmap.experiments.runs import StudyConfig
    from flawmap.experiments.table_text import TableText
    from flawmap.experiments.tables import TableSpec

Data = Annotated[
    str,
    typer.Option(
        help="A data set with test pictures, a folder of such products, `heatsinks` (drawn, as many as the paper has) "
        "or `elpv` (real solar cells, from a package)."
    ),
]
OfBackbone = Annotated[
    str | None,
    typer.Option(help="Any timm name, for all methods; unless given, tf_efficientnet_lite0 or their own."),
]
WeightsOption = Annotated[str | None, typer.Option(help="FILE.safetensors, hub, embedded or random.")]
Size = Annotated[str, typer.Option(help="Of the network's input: 224, or HEIGHTxWIDTH.")]
Seeds = Annotated[int, typer.Option(help="How many; what draws nothing is measured once.", min=1)]
TableFineTuneOption = Annotated[Literal["synthetic", "products"], typer.Option(help="What TL tells apart; see `flawmap fit`.")]
FineTunePresetOption = Annotated[
    Literal["paper", "gentle"], typer.Option(help="How TL fine-tunes: as the paper, or gently (docs/transfer.md).")
]
PresetOption = Annotated[str, typer.Option(help="Of the methods that are trained: paper, cpu or smoke.")]
LABEL = 30
"""Characters of a line's label that stand on one line on the screen."""

Into = Annotated[Path, typer.Option("--output", "-o", help="Folder for tables, rows, drawn data.")]


@app.command(epilog=EXIT_CODES)
def table(
    number: Annotated[int, typer.Argument(help="Of the table in Li et al. 2025.", min=1, max=5, metavar="1…5")],
    data: Data = "heatsinks",
    backbone: OfBackbone = None,
    weights: WeightsOption = None,
    size: Size = "224",
    seeds: Seeds = 3,
    finetune: TableFineTuneOption = "synthetic",
    finetune_preset: FineTunePresetOption = "paper",
    preset: PresetOption = "cpu",
    output: Into = Path("tables"),
) -> None:
    """Measure a table of the paper on your data: on the screen, and as Markdown, CSV and LaTeX.

    Every cell becomes a row on disk; the same command again goes on from those that are there. Stopped (Ctrl-C), the
    table shows those.
    """
    from flawmap.experiments.runs import StudyRunner
    from flawmap.experiments.table_text import format_table, result_records, write_table
    from flawmap.experiments.tables import TABLES

    study = _study(data, output, backbone, weights, size, seeds, finetune, finetune_preset)
    study, chosen = replace(study, preset=preset), TABLES[number]
    command = f"flawmap table {number} --data {study.source.name}"
    command += f" --backbone {backbone}" * bool(backbone) + f" --weights {Path(weights or '').name}" * bool(weights)
    command += f" --size {size}" * (size != "224")
    if chosen.timed:
        _time(number, chosen, study, output, command)
        return
    lab = StudyRunner(study, output)
    with progress_bars():
        rows = lab.results([line.setup for line in chosen.lines])
    sheet = format_table(chosen, study, rows)
    _show(f"Table {number}", sheet)
    command += f" --seeds {seeds} --finetune {finetune} --finetune-preset {finetune_preset}"
    _say_written(write_table(output / f"table{number}-{study.source.name}", sheet, result_records(chosen, rows), command))
    whole = not lab.stopped and not any(row.error or row.unreadable for row in rows.values())
    raise typer.Exit(ALL_GOOD if whole else SOME_UNREADABLE)


@app.command(epilog=EXIT_CODES)
def figure(
    number: Annotated[Literal["5", "6"], typer.Argument(help="Of the figure in Li et al. 2025.", metavar="5|6")],
    data: Data = "heatsinks",
    backbone: OfBackbone = None,
    weights: WeightsOption = None,
    size: Size = "224",
    finetune: TableFineTuneOption = "synthetic",
    finetune_preset: FineTunePresetOption = "paper",
    output: Into = Path("tables"),
) -> None:
    """Draw a figure of the paper from your data: 5 shows the pictures, 6 where each method sees the defects.

    Figure 6 comes twice: on the scale of each method's test set, as in the paper, and on the one that good parts set.
    """
    from flawmap.experiments.figures import draw_localisation, draw_samples
    from flawmap.render.encode import write_image

    study = _study(data, output, backbone, weights, size, 1, finetune, finetune_preset)
    stem = output / f"figure{number}-{study.source.name}"
    with progress_bars():
        if number == "5":
            pages = {stem.with_suffix(".png"): draw_samples(study)}
        else:
            drawn = draw_localisation(study, output)
            pages = {
                stem.with_suffix(".png"): drawn.over_test_set,
                stem.with_name(f"{stem.name}-calibrated.png"): drawn.calibrated,
            }
    for file, page in pages.items():
        write_image(file, page)
    out.print(f"Look at {', '.join(escape(str(file)) for file in pages)}")


def _time(number: int, chosen: TableSpec, study: StudyConfig, output: Path, command: str) -> None:
    from flawmap.experiments.table_text import format_timing_table, timing_records, write_table
    from flawmap.experiments.timing import measure_times
    from flawmap.support.system import describe_system

    for product in study.products:
        with progress_bars():
            times = measure_times(study, [line.setup for line in chosen.lines], product)
        sheet = format_timing_table(chosen, study, product, times, describe_system())
        _show(f"Table {number}, {product}", sheet)
        of = dict.fromkeys([study.source.name, product])  # a data set of one product has its name
        stem = output / f"table{number}-{'-'.join(of)}"
        _say_written(write_table(stem, sheet, timing_records(chosen, product, times), command))


def _study(
    data: str,
    output: Path,
    backbone: str | None,
    weights: str | None,
    size: str,
    seeds: int,
    finetune: Literal["synthetic", "products"],
    finetune_preset: str,
) -> StudyConfig:
    from flawmap.experiments.datasets import resolve_dataset
    from flawmap.experiments.runs import StudyConfig

    if weights and not backbone:
        raise OptionError(f"--weights {weights} without --backbone; say whose weights they are, as --backbone resnet18")
    how = make_finetune_config(finetune, finetune_preset)
    assert how is not None
    with progress_bars():
        source = resolve_dataset(data, output / "data")
    return StudyConfig(source, backbone, weights, parse_size(size), seeds, how)


def _show(title: str, sheet: TableText) -> None:
    """Show a sheet, below one another what does not fit beside each other."""
    label = max(len(row[0]) for row in sheet.rows)
    for number, places in enumerate(_abreast(sheet, out.width - min(label, LABEL) - 4)):
        table = RichTable(title=None if number else f"{title}: {sheet.title}", title_justify="left")
        table.add_column(escape(sheet.columns[0]), max_width=LABEL)
        for place in places:
            table.add_column(escape(sheet.columns[place]))
        for row in sheet.rows:
            table.add_row(escape(row[0]), *(escape(row[place]) for place in places))
        out.print(table)
    for note in sheet.notes:
        out.print(escape(note), soft_wrap=False)


def _abreast(sheet: TableText, width: int) -> list[list[int]]:
    """Part the columns behind the first into runs that fit into a width, with no cell on two lines."""
    groups: list[list[int]] = [[]]
    left = width
    for place in range(1, len(sheet.columns)):
        cells = [row[place] for row in sheet.rows]
        needed = max(map(len, [sheet.columns[place], *cells])) + 3
        if needed > left and groups[-1]:
            groups.append([])
            left = width
        groups[-1].append(place)
        left -= needed
    return groups


def _say_written(files: list[Path]) -> None:
    out.print(f"Written: {', '.join(escape(str(file)) for file in files)}")
