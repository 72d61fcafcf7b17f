"""`flawmap fit`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flawmap.cli.common import (
    EXIT_CODES,
    ConfidenceOption,
    ExitCode,
    SeedOption,
    app,
    parse_budgets,
    parse_memory,
)
from flawmap.cli.console import (
    err,
    on_one_line,
    out,
    print_fit_summary,
    print_warnings,
    progress_bars,
)
from flawmap.cli.dry_run import DryRunOption
from flawmap.cli.facts import Facts, facts_of
from flawmap.cli.fit_plan import plan_fit, training_folder
from flawmap.cli.fit_settings import FineTuneOption, FitSettings
from flawmap.cli.good_options import (
    FalseRejectsOption,
    GoodImages,
    MaskOption,
    OverlapOption,
    RegionBudgetOption,
    RegionsOption,
    TileOption,
    WhiteOption,
)
from flawmap.cli.notes import ALL_IN_JSON, print_dataset, print_mask, print_regions
from flawmap.cli.output import JsonOption, QuietOption, add_result, choose_output
from flawmap.cli.products import run_per_product
from flawmap.cli.repeats import sum_up
from flawmap.cli.tuning import Tuning
from flawmap.cli.tuning_table import print_tuning
from flawmap.errors import OptionError
from flawmap.support.names import as_text
from flawmap.support.targets import check_folder_target
from flawmap.support.temporary import lock_folder

if TYPE_CHECKING:
    from flawmap.inspector import Inspector


@app.command(epilog=EXIT_CODES)
def fit(
    good: GoodImages,
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
    tile: TileOption = None,
    overlap: OverlapOption = None,
    coreset: Annotated[
        float | None,
        typer.Option(
            help="Fraction of all patches kept in the bank; 0.01 unless the method has its own."
        ),
    ] = None,
    false_rejects: FalseRejectsOption = 0.01,
    confidence: ConfidenceOption = None,
    calibration_fraction: Annotated[
        float,
        typer.Option(
            help="Fraction of the good images to hold out, for the exact guarantee; 0 fits all "
            "and scores each by a bank without it; methods that are trained hold out 0.2. A "
            "manifest's calibration images go first."
        ),
    ] = 0.0,
    white: WhiteOption = None,
    mask: MaskOption = None,
    regions: RegionsOption = None,
    region_budget: RegionBudgetOption = None,
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
    memory: Annotated[
        str | None,
        typer.Option(
            help="Most memory that the fit may take, such as 1GB, with flawmap, patchcore and its "
            "relatives: vectors are kept in half precision on the disk, beside the file to write, "
            "in 20 GB or half of what is free; where that is too little each image is thinned. A "
            "fit that was stopped then goes on where it was.",
            metavar="AMOUNT",
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
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Fit to good images; writes one file, or one for each product."""
    choose_output(as_json=as_json, quiet=quiet)
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
        tile=tile,
        overlap=overlap,
        false_rejects=false_rejects,
        confidence=confidence,
        calibration_fraction=calibration_fraction,
        white=white,
        mask=mask,
        regions=regions,
        region_budgets=parse_budgets(region_budget or []),
        memory=parse_memory(memory) if memory is not None else None,
        finetune=finetune,
        finetune_preset=finetune_preset,
    )
    inspector = settings.make_inspector()  # What cannot be is reported before anything is read.
    tuning = settings.make_tuning(tune) if tune is not None else None
    if tuning:
        if memory is not None:
            raise OptionError(
                f"--tune beside --memory {memory}: a tuning keeps its vectors in memory; tune "
                "without it, and then fit with what was chosen"
            )
        if tile is not None:
            raise OptionError(
                f"--tune beside --tile {tile}: a tuning tries sizes that images are resized to; "
                "give one of them"
            )
        tuning.check(inspector)
    if weights == "random":
        err.print(
            "[yellow]The backbone has random weights: good for timing, not for finding defects.[/]"
        )
    # One network for all products, trained with the first of them; the others find it finished.
    products = classes_by_product(good) if finetune == "products" else None
    job = partial(plan_fit if dry_run else _fit, settings, tuning, products)
    code = run_per_product(
        good, output, job, file="part.flawmap", folder="parts", clean=not dry_run
    )
    raise typer.Exit(code)


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
    from flawmap.data.layouts import find_dataset
    from flawmap.data.part_mask import check_mask_apart
    from flawmap.data.training_set import TrainingSet
    from flawmap.finetune.classes import classes_with_real_defects

    with progress_bars():
        found = find_dataset(good)
    print_dataset(found)
    inspector = settings.make_inspector()
    classes = classes_with_real_defects(found) if settings.finetune == "real-defects" else products
    shared = products is not None
    folder = training_folder(inspector, output, shared=shared, memory=settings.memory)
    own_folder: AbstractContextManager[None] = nullcontext()
    if folder:
        check_folder_target(folder)
        own_folder = lock_folder(folder)
    with _without_empty(folder), own_folder:
        with progress_bars():
            training_set = TrainingSet.of(found)
            check_mask_apart(settings.mask, training_set.images)
            check_mask_apart(settings.regions, training_set.images, "file of regions")
            if tuning:
                inspector = settings.make_inspector(tuning.run(inspector, training_set))
        with progress_bars(of_one_fit=True):
            inspector.fit(
                training_set,
                finetune_classes=classes,
                checkpoint_dir=folder,
                memory=settings.memory,
            )
    with progress_bars():
        facts = facts_of(output, inspector.write(output))
    _remove_empty(folder)
    _print_outcome(inspector, output, facts, folder if folder and folder.exists() else None)
    is_whole = not inspector.unreadable and not found.unusable
    return ExitCode.ALL_GOOD if is_whole else ExitCode.SOME_UNREADABLE


@contextmanager
def _without_empty(folder: Path | None) -> Iterator[None]:
    """Leave no empty folder where the block raises."""
    try:
        yield
    except BaseException:
        _remove_empty(folder)
        raise


def _remove_empty(folder: Path | None) -> None:
    if folder and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _print_outcome(inspector: Inspector, output: Path, facts: Facts, folder: Path | None) -> None:
    from flawmap.tuning.record import TuningRecord

    errors = [as_text(str(image.error)) for image in inspector.unreadable]
    add_result(**facts, errors=errors, hint=inspector.depth_hint)
    add_result(training_folder=str(folder) if folder else None)
    if inspector.tuning:
        print_tuning(TuningRecord.from_dict(inspector.tuning))
    if inspector.chosen_mask:
        print_mask(inspector.chosen_mask)
    if inspector.chosen_zones:
        print_regions(inspector.chosen_zones)
    for line in sum_up(errors, ALL_IN_JSON):
        err.print(f"[yellow]skipped:[/] {on_one_line(line)}")
    if inspector.depth_hint:
        err.print(f"[yellow]{on_one_line(inspector.depth_hint)}[/]")
    if inspector.chosen_size:
        height, width, reason, overlap = inspector.chosen_size
        what = "Size" if overlap is None else f"Tiles, {overlap:.0%} overlapping, of"
        out.print(f"{what} {height} × {width} pixels (height × width), from {reason}")
    print_fit_summary(inspector.calibration, output)
    print_warnings(inspector.method.notes)
    if folder:
        outcome = "Fine-tuned" if inspector.finetune_record else "Trained"
        where = on_one_line(str(folder))
        out.print(f"{outcome}; curves, checkpoint and TensorBoard's files are in {where}")
