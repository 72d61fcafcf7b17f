"""Which good images train, which calibrate and which test.

The split of a data set follows from a hash of its file names. It is kept as a manifest with the
SHA-256 of each file, so that it can be repeated, and so that a later run can tell whether it still
reads the same images.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from flawmap.data.sample import Sample, Split
from flawmap.errors import DatasetError, OptionError
from flawmap.support.progress import track

SPLITS: tuple[Split, ...] = ("train", "calibration", "test")
"""In the order in which they are used."""

_MAX_NAMED_FILES = 3
"""Files that a message names; of the others it says how many they are."""


@dataclass(frozen=True)
class SplitFractions:
    """Which fraction of the good images goes to each split; together 1.

    Args:
        train: fraction to fit to, more than 0.
        calibration: fraction to set the threshold with, 0 or more.
        test: fraction to evaluate with, 0 or more.

    Raises:
        OptionError: a fraction below 0, none to fit to, or a sum other than 1.

    Example:
        >>> SplitFractions(train=0.8, calibration=0.0, test=0.2).test
        0.2
    """

    train: float = 0.60
    calibration: float = 0.15
    test: float = 0.25

    def __post_init__(self) -> None:
        fractions = f"train {self.train}, calibration {self.calibration}, test {self.test}"
        # Written so that a NaN fails it too.
        if not (self.train > 0 and self.calibration >= 0 and self.test >= 0):
            raise OptionError(
                f"fractions are {fractions}; train must be more than 0, the others 0 or more"
            )
        total = sum(astuple(self))
        if not abs(total - 1) <= 1e-9:
            raise OptionError(f"fractions are {fractions}, together {total:g}; they must make 1")


def assign_splits(
    samples: Sequence[Sample],
    fractions: SplitFractions = SplitFractions(),
    *,
    seed: int = 0,
    keep_test: bool = True,
) -> list[Sample]:
    """Assign the good images to splits; the defective ones are all to test.

    An image's split follows from the seed and its file name alone, or its group's name if it has
    one. Images that come later leave the others where they are, the folder may move, and a group
    stays together. The fractions are met only about; the more images or groups there are, the
    closer.

    Args:
        samples: the images of a data set.
        fractions: fraction of the good images in each split.
        seed: another seed gives another split.
        keep_test: whether good test images, where the data set has any, stay the only ones. The
            other good ones are then divided between train and calibration, in the ratio of these
            two fractions.

    Returns:
        The samples in their order, with their splits and the SHA-256 of their files.

    Raises:
        DatasetError: a split with a fraction comes out empty, a file cannot be read, or one is in
            two splits.
    """
    has_good_test = any(sample.split == "test" and not sample.label for sample in samples)
    keep_test = keep_test and has_good_test
    test_fraction = 0 if keep_test else fractions.test
    assigned = []
    for sample in samples:
        is_fixed = sample.label or (keep_test and sample.split == "test")
        split = "test" if is_fixed else _split_of(sample, fractions, test_fraction, seed)
        assigned.append(replace(sample, split=split))
    _check_none_empty(assigned, fractions)
    _check_disjoint(assigned)
    return _with_hashes(assigned)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in 64 hexadecimal digits; the file is not held in memory.

    Args:
        path: path of the file.

    Raises:
        DatasetError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror})") from error


def dataset_sha256(samples: Sequence[Sample]) -> str:
    """One hash for a set of images: of their bytes and defect types, in any order and folder.

    Args:
        samples: the images; those without a SHA-256 are read.
    """
    lines = [f"{sample.sha256 or _hash(sample.path)} {sample.defect_type}" for sample in samples]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def check_unchanged(samples: Sequence[Sample]) -> None:
    """Make sure that the files are those that the split was written for.

    Args:
        samples: the images; those without a SHA-256 pass.

    Raises:
        DatasetError: some have changed or vanished since.
    """
    hashed = [sample for sample in samples if sample.sha256]
    checked = track(hashed, "checking images", len(hashed))
    changed = [sample.path for sample in checked if _hash(sample.path) != sample.sha256]
    if changed:
        raise DatasetError(
            f"{_count(changed, 'image')} changed or gone since the split was written: "
            f"{_first(changed)}; "
            "put the old files back, or write the split again with `flawmap split`"
        )


def exclude_hashes(samples: Sequence[Sample], hashes: Sequence[str]) -> list[Sample]:
    """The samples whose files have none of these SHA-256.

    Args:
        samples: the images; those without a SHA-256 are read, unless there are no hashes.
        hashes: SHA-256 in hex of the files to exclude.
    """
    if not hashes:
        return list(samples)
    excluded = set(hashes)
    return [sample for sample in samples if (sample.sha256 or _hash(sample.path)) not in excluded]


def _check_disjoint(samples: Sequence[Sample]) -> None:
    """Make sure that no file is in two splits.

    A copy of a file is another file; `near_duplicates` finds those.

    Args:
        samples: the images of a data set, with their splits.

    Raises:
        DatasetError: some are.
    """
    splits: dict[Path, set[Split]] = {}
    for sample in samples:
        splits.setdefault(sample.path.resolve(), set()).add(sample.split)
    shared = [path for path in splits if len(splits[path]) > 1]
    if shared:
        raise DatasetError(
            f"{_count(shared, 'image')} in more than one split: {_first(shared)}; list each of "
            f"them once"
        )


def _split_of(sample: Sample, fractions: SplitFractions, test_fraction: float, seed: int) -> Split:
    # One name has two spellings in Unicode, and macOS gives back the other one than Windows and
    # Linux.
    name = unicodedata.normalize("NFC", sample.group or sample.path.name)
    digits = hashlib.sha256(f"{seed}/{name}".encode(errors="surrogateescape")).hexdigest()
    # Two numbers in 0…1, so that train and calibration are the same whether the test images are
    # kept or chosen here.
    if int(digits[:13], 16) / 16**13 < test_fraction:
        return "test"
    position = int(digits[13:26], 16) / 16**13 * (fractions.train + fractions.calibration)
    return "train" if position < fractions.train else "calibration"


def _check_none_empty(samples: Sequence[Sample], fractions: SplitFractions) -> None:
    good = [sample for sample in samples if not sample.label]
    counts = Counter(sample.split for sample in good)
    empty = [name for name in SPLITS if getattr(fractions, name) > 0 and not counts[name]]
    if empty:
        images = _plural(len(good), "good image")
        groups = {sample.group for sample in good} - {""}
        assigned = ", ".join(f"{counts[name]} to {name}" for name in SPLITS)
        raise DatasetError(
            f"{images}{_in_groups(len(groups))}: {assigned}; none to "
            f"{' and '.join(empty)}. Add good images, take another seed, or change the fractions"
        )


def _in_groups(count: int) -> str:
    return f" in {_plural(count, 'group')}, which stay together" if count else ""


def _with_hashes(samples: Sequence[Sample]) -> list[Sample]:
    hashes = [_hash(sample.path) for sample in track(samples, "hashing images", len(samples))]
    pairs = list(zip(samples, hashes, strict=True))
    missing = [sample.path for sample, sha256 in pairs if not sha256]
    if missing:
        raise DatasetError(
            f"{_count(missing, 'file')} missing or not to be read: {_first(missing)}; put them "
            "back, or take them off the manifest"
        )
    return [replace(sample, sha256=sha256) for sample, sha256 in pairs]


def _hash(path: Path) -> str:
    """SHA-256 of a file; empty where it cannot be read."""
    try:
        return sha256_of(path)
    except DatasetError:
        return ""


def _count(paths: Sequence[Path], noun: str) -> str:
    return f"{_plural(len(paths), noun)} {'is' if len(paths) == 1 else 'are'}"


def _plural(count: int, noun: str) -> str:
    return f"1 {noun}" if count == 1 else f"{count} {noun}s"


def _first(paths: Iterable[Path]) -> str:
    names = [str(path) for path in paths]
    named = ", ".join(names[:_MAX_NAMED_FILES])
    more = len(names) - _MAX_NAMED_FILES
    return f"{named} and {more} more" if more > 0 else named
