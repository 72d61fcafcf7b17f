"""What was found in folders and manifests, as lines: what was left out, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from flawmap.cli.console import err, notes, on_one_line, out
from flawmap.cli.output import add_result
from flawmap.cli.repeats import sum_up
from flawmap.data.auto_mask import ChosenMask
from flawmap.data.labels import is_good_word
from flawmap.data.layouts import skipped_folders
from flawmap.data.sample import FoundSamples, Sample
from flawmap.data.wording import list_counts
from flawmap.runtime.zones import Zones

ALL_IN_JSON = "--json has all"
"""Where every error can be read that no file holds."""


def print_left_out(passed_over: Sequence[str], unusable: Sequence[str]) -> None:
    """Print what was passed over, and what cannot be used; both are in the JSON document.

    Args:
        passed_over: a sentence each.
        unusable: a sentence each.
    """
    add_result(notes=list(passed_over), skipped=list(unusable))
    _print_lines(passed_over, unusable)


def _print_lines(passed_over: Iterable[str], unusable: Iterable[str]) -> None:
    for note in passed_over:
        notes.print(f"[yellow]note:[/] {on_one_line(note)}")
    for line in sum_up(unusable, ALL_IN_JSON):
        err.print(f"[yellow]skipped:[/] {on_one_line(line)}")


def print_dataset(found: FoundSamples) -> None:
    """Print what a data set is read as: its good images, what was left out, and why.

    Args:
        found: in a data set.
    """
    good = filter(is_good_to_fit, found.samples)
    places = Counter(_place(sample, found.source) for sample in good)
    if places:
        out.print(f"Good images: {on_one_line(list_counts(places))}")
    add_result(good_images=dict(places))
    print_left_out(found.notes, found.unusable)


def print_mask(chosen: ChosenMask) -> None:
    """Print what share of an image counts, and why.

    Args:
        chosen: for good images.
    """
    add_result(mask_reason=chosen.reason)
    reason = on_one_line(chosen.reason)
    if chosen.mask is None:
        err.print(f"[yellow]No mask, so that all of an image counts:[/] {reason}")
    else:
        out.print(f"Mask: {chosen.mask.share:.1%} of an image count ({reason})")


def print_regions(zones: Zones) -> None:
    """Print what share of an image is in each region.

    Args:
        zones: for good images.
    """
    shares = (f"{on_one_line(name)} {zones.share(name):.1%}" for name in zones.names)
    out.print(f"Regions, by their share of an image: {', '.join(shares)}")


def is_good_to_fit(sample: Sample) -> bool:
    """Whether an image is one that a method is fitted to, or that sets the threshold.

    Args:
        sample: of a data set.
    """
    return sample.split != "test" and not sample.label


def print_skipped_folders(source: Path, products: Mapping[str, Path]) -> bool:
    """Print which folders beside products are none; whether some of them cannot be read.

    Args:
        source: the folder that holds the products.
        products: as `find_products` gives them.
    """
    passed_over, unusable = skipped_folders(source, products)
    _print_lines(passed_over, unusable)
    return bool(unusable)


def _place(sample: Sample, source: Path) -> str:
    """Where a good image is said to be good, for whoever named the data set."""
    use = ", to calibrate" if sample.split == "calibration" else ""
    if not source.is_dir():
        return source.name + use
    parts = sample.path.parent.relative_to(source).parts
    named = [depth for depth, part in enumerate(parts, 1) if is_good_word(part)]
    kept = parts[: named[-1]] if named else parts
    return ("/".join(kept) or source.name or str(source)) + use
