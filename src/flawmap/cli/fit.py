"""`flawmap fit`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flawmap.cli.common import EXIT_CODES, ConfidenceOption, ExitCode, SeedOption, app
from flawmap.cli.console import err, on_one_line, out, print_fit_summary, print_notes, progress_bars
from flawmap.cli.fit_settings import FineTuneOption, FitSettings
from flawmap.cli.notes import print_dataset
from flawmap.cli.products import run_per_product
from flawmap.cli.tuning import Tuning
from flawmap.cli.tuning_table import print_tuning
from flawmap.errors import OptionError
from flawmap.support.names import with_suffix
from flawmap.support.targets import check_folder_target

if TYPE_CHECKING:
    from flawmap.inspector import Inspector
    from flawmap.runtime.images.decode import UnreadableImage


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
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="The file to write, part.flawmap unless given; for products a folder.",
            metavar="PATH",
        ),
    ] = None,
    method: Annotated[str, typer.Option(help="See `flawmap methods`.")] = "flawmap",
    preset: Annotated[
        str | None,
        typer.Option(
            help="Settings of the method that belong together; `flawmap methods METHOD` lists "
            "them and marks the one that applies unless given.",
            metavar="NAME",
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
    layers: Annotated[
        str | None,
        typer.Option(
            help="The backbone's layers to use, as 2,3: the stages of a CNN count from 1; the "
            "blocks of a transformer from 0, such as 5,8,10 of DINOv2's twelve.",
            metavar="NUMBERS",
        ),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(
            help="Largest stride of the backbone's layers in pixels, such as 8: finer maps with "
            "the same weights, in about twice the network's time; its own strides unless given."
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            help="Of the network's input: 224 (unless a preset says otherwise), HEIGHTxWIDTH, or "
            "auto for the median aspect of the good images. Images of another aspect are "
            "padded where the method can (letterbox=true), and stretched by all others."
        ),
    ] = None,
    pixels: Annotated[
        int | None,
        typer.Option(
            help="With --size auto, which this implies: the side of a square of the input's area; "
            "320 unless given.",
            metavar="SIDE",
        ),
    ] = None,
    coreset: Annotated[
        float | None,
        typer.Option(
            help="Fraction of all patches kept in the bank; 0.01 unless the method has its own."
        ),
    ] = None,
    false_rejects: Annotated[
        float, typer.Option(help="Fraction of good parts that may be rejected.")
    ] = 0.01,
    confidence: ConfidenceOption = None,
    calibration_fraction: Annotated[
        float,
        typer.Option(
            help="Fraction of the good images to hold out, for the exact guarantee; 0 fits all "
            "and scores each by a bank without it; methods that are trained hold out 0.2. A "
            "manifest's calibration images go first."
        ),
    ] = 0.0,
    white: Annotated[
        int | None,
        typer.Option(
            help="The level of white in images of 16 bits, such as 4095 for a camera of 12 bits; "
            "65535 unless given. An image with a higher level is an error.",
            metavar="LEVEL",
        ),
    ] = None,
    finetune: Annotated[
        FineTuneOption,
        typer.Option(
            help="Fine-tune the backbone first. synthetic: good images against the same with "
            "painted defects. products: one class a product. real-defects: good images against "
            "a fifth of each type of real defect, which evaluate then skips."
        ),
    ] = "none",
    finetune_preset: Annotated[
        Literal["gentle", "paper"],
        typer.Option(
            help="How to fine-tune: deep stages only, slowly, 5 epochs; or as the paper of "
            "improved-patchcore: all layers, ten times the rate, batch statistics, 20 epochs."
        ),
    ] = "gentle",
    precision: Annotated[
        Literal["f32", "bf16", "int8"],
        typer.Option(
            help="What the network computes in, now and whenever the file is used; bf16 and int8 "
            "are faster where the CPU has them (docs/runtime.md)."
        ),
    ] = "f32",
    tune: Annotated[
        float | None,
        typer.Option(
            help="Choose size, stride, scaling by place and image score for the part first, by "
            "painted defects on held-out good images, in so many minutes for each product. What "
            "you type stays as it is.",
            metavar="MINUTES",
        ),
    ] = None,
    seed: SeedOption = 0,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Another option of the method (`flawmap methods METHOD` lists them): "
            "reducer=PCA, context.ratio=0.25; or finetune.epochs=20, …",
        ),
    ] = None,
) -> None:
    """Fit to good images; writes one file, or one for each product."""
    # Imported here, as in every command, so that --help and a typing error take no seconds.
    from flawmap.finetune.classes import classes_by_product

    typed = {
        "backbone": backbone,
        "weights": weights,
        "layers": _parse_layers(layers) if layers is not None else None,
        "stride": stride,
        "coreset": coreset,
        "seed": seed,
        "precision": precision,
    }
    settings = FitSettings(
        method,
        preset,
        options={name: value for name, value in typed.items() if value is not None},
        changes=changes or [],
        size=size,
        pixels=pixels,
        false_rejects=false_rejects,
        confidence=confidence,
        calibration_fraction=calibration_fraction,
        white=white,
        finetune=finetune,
        finetune_preset=finetune_preset,
    )
    inspector = settings.make_inspector()  # What cannot be is reported before anything is read.
    tuning = settings.make_tuning(tune) if tune is not None else None
    if tuning:
        tuning.check(inspector)
    if weights == "random":
        err.print(
            "[yellow]The backbone has random weights: good for timing, not for finding defects.[/]"
        )
    # One network for all products, trained with the first of them; the others find it finished.
    products = classes_by_product(good) if finetune == "products" else None
    job = partial(_fit, settings, tuning, products)
    raise typer.Exit(run_per_product(good, output, job, file="part.flawmap", folder="parts"))


def _parse_layers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError:
        raise OptionError(f"--layers {text}; use numbers with commas between, as 2,3") from None


def _fit(
    settings: FitSettings,
    tuning: Tuning | None,
    products: Mapping[str, Sequence[Path]] | None,
    good: Path,
    output: Path,
) -> int:
    from flawmap.finetune.classes import classes_with_real_defects

    with progress_bars():
        found = print_dataset(good)
    inspector = settings.make_inspector()
    real_defects = inspector.finetune is not None and inspector.finetune.mode == "real-defects"
    classes = classes_with_real_defects(good) if real_defects else products
    suffix = ".finetune" if inspector.finetune else ".training"
    folder = with_suffix(output.with_name(output.name.removesuffix(".flawmap")), suffix)
    if products:
        folder = output.parent / "products.finetune"
    if inspector.finetune or inspector.method.is_trained:
        check_folder_target(folder)
    with progress_bars():
        if tuning:
            inspector = settings.make_inspector(tuning.run(inspector, good))
        inspector.fit(good, finetune_classes=classes, checkpoint_dir=folder)
    inspector.save(output)
    _print_outcome(inspector, output, folder)
    is_whole = not inspector.unreadable and not found.unusable
    return ExitCode.ALL_GOOD if is_whole else ExitCode.SOME_UNREADABLE


def _print_outcome(inspector: Inspector, output: Path, folder: Path) -> None:
    from flawmap.tuning.record import TuningRecord

    if inspector.tuning:
        print_tuning(TuningRecord.from_dict(inspector.tuning))
    _print_unreadable(inspector.unreadable)
    if inspector.depth_hint:
        err.print(f"[yellow]{on_one_line(inspector.depth_hint)}[/]")
    if inspector.chosen_size:
        height, width, reason = inspector.chosen_size
        out.print(f"Size {height} × {width} pixels (height × width), from {reason}")
    print_fit_summary(inspector.calibration, output)
    print_notes(inspector.method.notes)
    if inspector.finetune_record or inspector.method.is_trained:
        outcome = "Fine-tuned" if inspector.finetune_record else "Trained"
        where = on_one_line(str(folder))
        out.print(f"{outcome}; curves, checkpoint and TensorBoard's files are in {where}")


def _print_unreadable(unreadable: Sequence[UnreadableImage]) -> None:
    """Print which images could not be used, and why."""
    for image in unreadable:
        err.print(f"[yellow]skipped:[/] {on_one_line(str(image.error))}")
