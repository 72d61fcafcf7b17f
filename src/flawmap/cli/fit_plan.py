"""`flawmap fit --dry-run`, and where the files of a training go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flawmap.cli.common import ExitCode
from flawmap.cli.console import progress_bars
from flawmap.cli.dry_run import (
    images_by_split,
    print_reads,
    print_settings,
    print_writes,
    why_not_opened,
)
from flawmap.cli.fit_settings import FitSettings
from flawmap.cli.notes import is_good_to_fit, print_dataset
from flawmap.cli.tuning import Tuning
from flawmap.support.names import with_suffix
from flawmap.support.targets import check_folder_target

if TYPE_CHECKING:
    from flawmap.data.sample import FoundSamples
    from flawmap.data.training_set import TrainingSet
    from flawmap.inspector import Inspector


def training_folder(
    inspector: Inspector, output: Path, *, shared: bool, memory: int | None = None
) -> Path | None:
    """The folder for checkpoints and curves, or for vectors alone; None where it needs none.

    Args:
        inspector: not fitted yet.
        output: the file of the inspector.
        shared: whether one backbone is fine-tuned for all products.
        memory: that the fit keeps to, by vectors on the disk; None for no limit.
    """
    is_trained = inspector.finetune or inspector.method.is_trained
    if not is_trained and memory is None:
        return None
    if shared:
        return output.parent / "products.finetune"
    suffix = ".training" if is_trained else ".scratch"
    if inspector.finetune:
        suffix = ".finetune"
    return with_suffix(output.with_name(output.name.removesuffix(".flawmap")), suffix)


def plan_fit(
    settings: FitSettings,
    tuning: Tuning | None,
    products: Mapping[str, Sequence[Path]] | None,
    good: Path,
    output: Path,
) -> int:
    """Print what would be fitted to which images, with what, and which files would be written.

    Args:
        settings: as they were typed.
        tuning: that would choose some of them; None for none.
        products: good images by product, where a backbone would be fine-tuned to tell them apart.
        good: the data set.
        output: the file that would be written.

    Returns:
        The exit code.

    Raises:
        FlawmapError: the same that the fit would end with, as far as no image is decoded.
    """
    from flawmap.data.layouts import find_dataset
    from flawmap.data.part_mask import check_mask_apart
    from flawmap.data.training_set import TrainingSet
    from flawmap.finetune.classes import classes_with_real_defects

    inspector = settings.make_inspector()
    settings.check_backbone(inspector)
    with progress_bars():
        found = find_dataset(good)
        training_set = TrainingSet.of(found)
    check_mask_apart(settings.mask, training_set.images)
    check_mask_apart(settings.regions, training_set.images, "file of regions")
    if settings.finetune == "real-defects":
        classes_with_real_defects(found)
    folder = training_folder(inspector, output, shared=products is not None, memory=settings.memory)
    if folder:
        check_folder_target(folder, clean=False)
    fraction = inspector.calibration_fraction or inspector.method.holdout_fraction
    training_set = training_set.hold_out(fraction, seed=inspector.method.seed)
    unusable = [*found.unusable, *_check_files(training_set)]
    print_dataset(replace(found, unusable=unusable))
    _print_images(found)
    print_settings(
        {
            **settings.as_typed(inspector),
            "tuning_minutes": tuning.minutes if tuning else None,
            **_calibration(inspector, training_set),
        }
    )
    print_writes([output, *([folder] if folder else [])])
    return ExitCode.SOME_UNREADABLE if unusable else ExitCode.ALL_GOOD


def _check_files(training_set: TrainingSet) -> list[str]:
    """Why files cannot be read, where enough others can."""
    held_out = set(training_set.held_out)
    reasons = [why_not_opened(Path(str(image))) for image in training_set.images]
    usable = [index for index, reason in enumerate(reasons) if not reason]
    training = sum(index not in held_out for index in usable)
    calibrating = len(usable) - training if held_out else training
    training_set.check_readable(training, calibrating)
    return [reason for reason in reasons if reason]


def _print_images(found: FoundSamples) -> None:
    used = [sample for sample in found.samples if is_good_to_fit(sample)]
    unused = [sample for sample in found.samples if not is_good_to_fit(sample)]
    print_reads(found.source, images_by_split(used), images_by_split(unused))


def _calibration(inspector: Inspector, training_set: TrainingSet) -> dict[str, Any]:
    """The budget, how many good images it takes, and how many there are."""
    held_out = len(training_set.held_out)
    count = held_out or len(training_set.images)
    needed = inspector.budget.images_needed
    return {
        "false_rejects": inspector.budget.false_rejects,
        "confidence": inspector.budget.confidence,
        "calibration": "split" if held_out else "leave-out",
        "calibration_images": count,
        "images_needed": needed,
        "images_missing": max(0, needed - count),
        **_regions(inspector),
    }


def _regions(inspector: Inspector) -> dict[str, Any]:
    """The budget of each region, and how many good images it takes; nothing without regions."""
    from flawmap.data.zone_file import zone_names
    from flawmap.runtime.calibration import Budget

    if inspector.zones is None:
        return {}
    usual, confidence = inspector.budget.false_rejects, inspector.budget.confidence
    names = zone_names(inspector.zones)
    budgets = {name: inspector.zone_budgets.get(name, usual) for name in names}
    needed = {name: Budget(part, confidence).images_needed for name, part in budgets.items()}
    return {"region_budgets": budgets, "region_images_needed": needed}
