"""What was found in folders and manifests, as lines: what was left out, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from flawmap.cli.console import err, on_one_line, out
from flawmap.data.labels import is_good_word
from flawmap.data.layouts import find_dataset, skipped_folders
from flawmap.data.sample import FoundSamples, Sample
from flawmap.data.wording import list_counts


def print_left_out(notes: Iterable[str], unusable: Iterable[str]) -> None:
    """Print what was passed over, and what cannot be used.

    Args:
        notes: what was passed over, a sentence each.
        unusable: what cannot be used, a sentence each.
    """
    for note in notes:
        err.print(f"[yellow]note:[/] {on_one_line(note)}")
    for line in unusable:
        err.print(f"[yellow]skipped:[/] {on_one_line(line)}")


def print_dataset(source: Path) -> FoundSamples:
    """Print what a data set is read as: its good images, what was left out, and why.

    Args:
        source: a data set.

    Returns:
        What was found.

    Raises:
        DatasetError: it is none.
    """
    found = find_dataset(source)
    good = [sample for sample in found.samples if sample.split != "test" and not sample.label]
    if good:
        places = list_counts(Counter(_place(sample, source) for sample in good))
        out.print(f"Good images: {on_one_line(places)}")
    print_left_out(found.notes, found.unusable)
    return found


def print_skipped_folders(source: Path, products: Mapping[str, Path]) -> bool:
    """Print which folders beside products are none; whether some of them cannot be read.

    Args:
        source: the folder that holds the products.
        products: as `find_products` gives them.
    """
    notes, unusable = skipped_folders(source, products)
    print_left_out(notes, unusable)
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
