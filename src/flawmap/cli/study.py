"""What `flawmap table` and `flawmap figure` share: their options, and the study that these make."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flawmap.cli.common import parse_size
from flawmap.cli.console import progress_bars
from flawmap.errors import OptionError
from flawmap.support.targets import check_folder_target

if TYPE_CHECKING:
    from flawmap.experiments.study import StudyConfig

_FineTunePreset = Literal["paper", "gentle"]
_TableFineTuneMode = Literal["synthetic", "products"]

DataOption = Annotated[
    str,
    typer.Option(
        help="A data set with test images, a folder of such products, `heatsinks` (drawn, as many "
        "as the paper has) or `elpv` (real solar cells, from a package)."
    ),
]
BackboneOption = Annotated[
    str | None,
    typer.Option(
        help="Any timm name, for all methods; unless given, tf_efficientnet_lite0 or their own."
    ),
]
WeightsOption = Annotated[
    str | None, typer.Option(help="FILE.safetensors, hub, embedded or random.")
]
SizeOption = Annotated[
    str, typer.Option(help="Size of the network's input in pixels: 224, or HEIGHTxWIDTH.")
]
TableFineTuneOption = Annotated[
    _TableFineTuneMode,
    typer.Option(help="Classes that TL is trained to tell apart; see `flawmap fit`."),
]
FineTunePresetOption = Annotated[
    _FineTunePreset,
    typer.Option(help="How TL fine-tunes: as the paper, or gently (docs/finetuning.md)."),
]
StudyFolder = Annotated[
    Path, typer.Option("--output", "-o", help="Folder for tables, results and drawn data.")
]


def make_study(
    data: str,
    output: Path,
    *,
    backbone: str | None,
    weights: str | None,
    size: str,
    seeds: int,
    finetune: _TableFineTuneMode,
    finetune_preset: _FineTunePreset,
    preset: str | None = None,
) -> StudyConfig:
    """Settings of a study, from what was typed; a named data set is made where it is not there yet.

    Args:
        data: a folder, or the name of a data set.
        output: folder of the study; a named data set is written to `data` below it.
        backbone: timm name for all methods; None for the default.
        weights: where the backbone's weights come from; None for the default.
        size: size of the network's input, as typed.
        seeds: number of seeds, > 0.
        finetune: classes of the fine-tuning.
        finetune_preset: settings of the fine-tuning.
        preset: of those methods that have it; None for each method's default.

    Raises:
        OptionError: weights without a backbone, a wrong size, no such preset, or no such data set.
        MissingExtra: the package that holds the data set is not installed.
        WriteError: the folder cannot be written.
    """
    for folder in (output, output / "data", output / "runs"):
        check_folder_target(folder)
    from flawmap.experiments.datasets import resolve_dataset
    from flawmap.experiments.study import StudyConfig
    from flawmap.finetune.config import PAPER_CONFIG, FineTuneConfig

    if weights and not backbone:
        raise OptionError(
            f"--weights {weights} without --backbone; say whose weights they are, as --backbone "
            "resnet18"
        )
    base = PAPER_CONFIG if finetune_preset == "paper" else FineTuneConfig()
    folder = output / "data"
    # Settings that cannot be are refused before a data set is made, which takes a minute.
    study = StudyConfig(
        folder,
        backbone,
        weights,
        size=parse_size(size),
        seeds=seeds,
        finetune=replace(base, mode=finetune),
        preset=preset,
    )
    with progress_bars():
        return replace(study, source=resolve_dataset(data, folder))
