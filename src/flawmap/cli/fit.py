"""`flawmap fit`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape

from flawmap.cli.common import (
    ALL_GOOD,
    EXIT_CODES,
    SOME_UNREADABLE,
    SUFFIX,
    ConfidenceOption,
    SeedOption,
    app,
    parse_size,
    run_per_product,
)
from flawmap.cli.console import (
    err,
    out,
    print_fit_summary,
    print_notes,
    print_unreadable,
    progress_bars,
)
from flawmap.errors import OptionError

if TYPE_CHECKING:
    from flawmap.finetune.classes import Classes
    from flawmap.finetune.config import FineTuneConfig
    from flawmap.inspector import Inspector

FineTuneOption = Literal["none", "synthetic", "products", "real-defects"]

FINETUNE_PREFIX = "finetune."
"""Begins the name of an option of the fine-tuning."""


@app.command(epilog=EXIT_CODES)
def fit(
    good: Annotated[
        Path,
        typer.Argument(
            help="A folder of good images, or one with train/good, or a CSV manifest, or a "
            "folder of such products.",
            metavar="GOOD",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The file to write, part.flawmap unless given; for products a folder.",
        ),
    ] = None,
    method: Annotated[str, typer.Option(help="See `flawmap methods`.")] = "patchcore",
    preset: Annotated[
        Literal["paper", "cpu", "smoke"] | None,
        typer.Option(
            help="For methods that are trained: as published, for a GPU; for two cores and ten "
            "minutes (the default); "
            "for seconds, to see that it runs."
        ),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(help="Any timm name; tf_efficientnet_lite0 unless the method names its own."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="FILE.safetensors, hub, embedded or random; unless given, embedded where there "
            "are."
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            help="Of the network's input: 224 (unless a preset says otherwise), or HEIGHTxWIDTH."
        ),
    ] = None,
    coreset: Annotated[
        float | None,
        typer.Option(
            help="Share of all patches to remember; 0.01 unless the method says otherwise."
        ),
    ] = None,
    false_rejects: Annotated[
        float, typer.Option(help="Share of good parts that may be rejected.")
    ] = 0.01,
    confidence: ConfidenceOption = None,
    calibration_fraction: Annotated[
        float,
        typer.Option(
            help="Share of the good images to keep out of the memory, for the exact guarantee; 0 "
            "learns from all and "
            "judges each by a memory without it; methods that are trained keep out 0.2. A "
            "manifest's calibration "
            "images go first."
        ),
    ] = 0.0,
    finetune: Annotated[
        FineTuneOption,
        typer.Option(
            help="Fine-tune the backbone first, to tell apart: good images and such with painted "
            "defects; products; "
            "good images and a fifth of the real defects, which evaluations then leave out."
        ),
    ] = "none",
    finetune_preset: Annotated[
        Literal["gentle", "paper"],
        typer.Option(
            help="How to fine-tune: deep stages only, slowly, 5 epochs; or as the paper of "
            "improved-patchcore: all "
            "layers, ten times the rate, batch statistics, 20 epochs."
        ),
    ] = "gentle",
    precision: Annotated[
        Literal["f32", "bf16", "int8"],
        typer.Option(
            help="What the network computes in, now and whenever the file is used; bf16 and int8 "
            "are faster where the "
            "CPU has them (docs/runtime.md)."
        ),
    ] = "f32",
    seed: SeedOption = 0,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Another option of the method: reducer=PCA, context.ratio=0.25; or "
            "finetune.epochs=20, …",
        ),
    ] = None,
) -> None:
    """Learn from good images; writes one file, or one for each product."""
    # Imported here, as in every command, so that --help and a typing error take no seconds.
    from flawmap.finetune.classes import classes_by_product
    from flawmap.inspector import Inspector
    from flawmap.methods import get_preset, make_method

    def make() -> Inspector:
        asked: dict[str, Any] = {
            "backbone": backbone,
            "weights": weights,
            "coreset": coreset,
            "seed": seed,
            "precision": precision,
        }
        made = make_method(
            method, preset, **{name: value for name, value in asked.items() if value is not None}
        )
        of_method = [change for change in changes or [] if not change.startswith(FINETUNE_PREFIX)]
        for change in of_method:
            made = type(made).from_options(with_option(made.options(), change))
        return Inspector(
            made,
            name=method,
            size=parse_size(size) if size else get_preset(method, preset).size if preset else None,
            false_rejects=false_rejects,
            confidence=confidence,
            calibration_fraction=calibration_fraction,
            finetune=make_finetune_config(
                finetune,
                finetune_preset,
                [change for change in changes or [] if change not in of_method],
            ),
        )

    make()  # Options that cannot be are said before anything is read.
    if weights == "random":
        err.print(
            "[yellow]The backbone has random weights: good for timing, not for finding defects.[/]"
        )
    # One network for all products, trained with the first of them; the others find it finished.
    products = classes_by_product(good) if finetune == "products" else None
    job = partial(_fit, make, products)
    raise typer.Exit(run_per_product(good, output, job, file=f"part{SUFFIX}", folder="parts"))


def _fit(make: Callable[[], Inspector], products: Classes | None, good: Path, output: Path) -> int:
    from flawmap.finetune.classes import classes_with_real_defects

    inspector = make()
    held_out = inspector.finetune is not None and inspector.finetune.mode == "real-defects"
    own = output.with_suffix(".finetune" if inspector.finetune else ".training")
    folder = output.parent / "products.finetune" if products else own
    with progress_bars():
        inspector.fit(
            good,
            finetune_classes=classes_with_real_defects(good) if held_out else products,
            checkpoint_dir=folder,
        )
    inspector.save(output)
    print_unreadable(inspector.unreadable)
    print_fit_summary(inspector.calibration, output)
    print_notes(inspector.method.notes)
    if inspector.finetune_record or inspector.method.is_trained:
        done, place = "Fine-tuned" if inspector.finetune_record else "Trained", escape(str(folder))
        out.print(f"{done}; curves, checkpoint and TensorBoard's files are in {place}")
    return SOME_UNREADABLE if inspector.unreadable else ALL_GOOD


def make_finetune_config(
    mode: FineTuneOption, finetune_preset: str, changes: Sequence[str] = ()
) -> FineTuneConfig | None:
    """Say how to fine-tune by what was asked for; None for not at all."""
    from flawmap.finetune.config import PAPER_CONFIG, FineTuneConfig
    from flawmap.support.options import from_dict, to_dict

    if mode == "none":
        if changes or finetune_preset == "paper":
            asked = f"--set {changes[0]!r}" if changes else "--finetune-preset paper"
            raise OptionError(
                f"{asked} without --finetune; say with what to fine-tune, as --finetune synthetic"
            )
        return None
    preset = PAPER_CONFIG if finetune_preset == "paper" else FineTuneConfig()
    options = to_dict(replace(preset, mode=mode))
    for change in changes:
        options = with_option(options, change.removeprefix(FINETUNE_PREFIX))
    return from_dict(options, FineTuneConfig)


def with_option(options: dict[str, Any], change: str) -> dict[str, Any]:
    """The options with one change, written as NAME=VALUE or NAME.NAME=VALUE."""
    path, equals, text = change.partition("=")
    *parents, name = path.split(".")
    place: Any = options
    for parent in parents:
        place = place.get(parent) if isinstance(place, dict) else None
    if not equals or not isinstance(place, dict) or name not in place:
        known = ", ".join(place if isinstance(place, dict) else options)
        raise OptionError(f"--set {change!r}: write NAME=VALUE with a name among {known}")
    place[name] = {"type": text} if isinstance(place[name], dict) else _parse_value(text)
    return options


def _parse_value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
