"""`flawmap figure`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flawmap.cli.common import EXIT_CODES, app
from flawmap.cli.console import on_one_line, out, progress_bars
from flawmap.cli.output import JsonOption, QuietOption, choose_output, print_document
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
from flawmap.support.targets import check_file_target

if TYPE_CHECKING:
    from flawmap.experiments.study import StudyConfig
    from flawmap.runtime.image_types import ImageU8


_SUFFIXES = {"5": ("",), "6": ("", "-calibrated")}
"""What the names of a figure's files end in."""


@app.command(epilog=EXIT_CODES)
def figure(
    number: Annotated[
        Literal["5", "6"], typer.Argument(help="Number in Li et al. 2025.", metavar="5|6")
    ],
    data: DataOption = "heatsinks",
    backbone: BackboneOption = None,
    weights: WeightsOption = None,
    size: SizeOption = "224",
    finetune: TableFineTuneOption = "synthetic",
    finetune_preset: FineTunePresetOption = "paper",
    output: StudyFolder = Path("tables"),
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Draw a figure of the paper from your data: 5 shows samples, 6 where methods see the defects.

    Figure 6 comes twice: on the scale of each method's test set, as in the paper, and on the one
    that good parts set.
    """
    choose_output(as_json=as_json, quiet=quiet)
    from flawmap.render.encode import write_image

    study = make_study(
        data,
        output,
        backbone=backbone,
        weights=weights,
        size=size,
        seeds=1,
        finetune=finetune,
        finetune_preset=finetune_preset,
    )
    stem = f"figure{number}-{study.source.name}"
    for suffix in _SUFFIXES[number]:
        check_file_target(output / f"{stem}{suffix}.png")
    with progress_bars():
        drawn = _draw(number, study, output)
    files = []
    for suffix, image in drawn.items():
        files.append(output / f"{stem}{suffix}.png")
        write_image(files[-1], image)
    print_document({"files": [str(file) for file in files]})
    out.print(f"Look at {', '.join(on_one_line(str(file)) for file in files)}")


def _draw(number: Literal["5", "6"], study: StudyConfig, output: Path) -> dict[str, ImageU8]:
    """Images of a figure, by what their files' names end in."""
    from flawmap.experiments.figures import draw_localisation, draw_samples

    if number == "5":
        return dict.fromkeys(_SUFFIXES[number], draw_samples(study))
    figures = draw_localisation(study, output)
    return dict(zip(_SUFFIXES[number], (figures.over_test_set, figures.calibrated), strict=True))
