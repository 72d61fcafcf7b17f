"""Which good images teach, which set the threshold and which test.

Settled once, by hash, and written down.

The share-out of a data set is kept as a manifest with the SHA-256 of each file, so that it can be
repeated, and so that a later run can tell whether it still reads the same images.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from flawmap.data.layouts import Sample, Split
from flawmap.errors import DatasetError, OptionError
from flawmap.support.progress import track

SPLITS: tuple[Split, ...] = ("train", "calibration", "test")
"""In the order in which they are used."""

MAX_NAMED_FILES = 3
"""Files that a message names; of the others it says how many they are."""


@dataclass(frozen=True)
class SplitFractions:
    """How the good images are shared out; parts of 1.

    Args:
        train: to learn from; more than 0.
        calibration: to set the threshold.
        test: to evaluate.

    Raises:
        OptionError: a share below 0, none to learn from, or a sum other than 1.
    """

    train: float = 0.60
    calibration: float = 0.15
    test: float = 0.25

    def __post_init__(self) -> None:
        shares = f"train {self.train}, calibration {self.calibration}, test {self.test}"
        # Written so that a NaN fails it too.
        if not (self.train > 0 and self.calibration >= 0 and self.test >= 0):
            raise OptionError(
                f"shares are {shares}; train must be more than 0, the others 0 or more"
            )
        if not abs(sum(astuple(self)) - 1) <= 1e-9:
            raise OptionError(
                f"shares are {shares}, together {sum(astuple(self)):g}; they must make 1"
            )


def assign_splits(
    samples: Sequence[Sample],
    shares: SplitFractions = SplitFractions(),
    *,
    seed: int = 0,
    keep_test: bool = True,
) -> list[Sample]:
    """Share the good images out; the defective ones are all to test.

    An image's split follows from the seed and its file name alone, or its group's name if it has
    one. Images that come later leave the others where they are, the folder may move, and a group
    stays together. The shares are met only about; the more images or groups there are, the closer.

    Args:
        samples: of a data set.
        shares: of the good images.
        seed: another one gives another share-out.
        keep_test: whether good test images, where the data set has any, stay the only ones. The
            other good ones are then shared out between train and calibration, in the ratio of these
            two shares.

    Returns:
        The samples in their order, with their splits and the SHA-256 of their files.

    Raises:
        DatasetError: a split with a share comes out empty, a file cannot be read, or one is in two
            splits.
    """
    kept = keep_test and any(sample.split == "test" and not sample.label for sample in samples)

    def choose(sample: Sample) -> Split:
        if sample.label or (kept and sample.split == "test"):
            return "test"
        return _place(sample, shares, 0 if kept else shares.test, seed)

    placed = [replace(sample, split=choose(sample)) for sample in samples]
    _check_none_empty(placed, [name for name in SPLITS if getattr(shares, name) > 0])
    check_disjoint(placed)
    return _with_hashes(placed)


def _place(sample: Sample, shares: SplitFractions, test: float, seed: int) -> Split:
    # One name has two spellings in Unicode, and macOS gives back the other one than Windows and
    # Linux.
    name = unicodedata.normalize("NFC", sample.group or sample.path.name)
    digits = hashlib.sha256(f"{seed}/{name}".encode(errors="surrogateescape")).hexdigest()
    # Two numbers in 0…1, so that train and calibration are the same whether the test images are
    # kept or chosen here.
    to_test, to_calibration = (int(part, 16) / 16**13 for part in (digits[:13], digits[13:26]))
    if to_test < test:
        return "test"
    return (
        "train"
        if to_calibration * (shares.train + shares.calibration) < shares.train
        else "calibration"
    )


def _check_none_empty(samples: Sequence[Sample], asked: Sequence[Split]) -> None:
    good = [sample for sample in samples if not sample.label]
    counts = Counter(sample.split for sample in good)
    if empty := [name for name in asked if not counts[name]]:
        groups = len({sample.group for sample in good if sample.group})
        grouped = f" in {groups} group{'s' * (groups > 1)}, which stay together" if groups else ""
        found = ", ".join(f"{counts[name]} to {name}" for name in SPLITS)
        raise DatasetError(
            f"{len(good)} good image{'s' * (len(good) != 1)}{grouped}: {found}; none to "
            f"{' and '.join(empty)}. "
            f"Add good images{' of other groups' if groups else ''}, take another seed, or "
            f"change the shares"
        )


def _with_hashes(samples: Sequence[Sample]) -> list[Sample]:
    hashes = [_hash(sample.path) for sample in track(samples, "hashing images", len(samples))]
    if missing := [
        sample.path for sample, sha256 in zip(samples, hashes, strict=True) if not sha256
    ]:
        raise DatasetError(
            f"{_count(missing, 'file')} missing or not to be read: {_first(missing)}; put them "
            f"back, or take them off "
            "the manifest"
        )
    return [replace(sample, sha256=sha256) for sample, sha256 in zip(samples, hashes, strict=True)]


def sha256_of(path: Path) -> str:
    """Hash a file, in 64 hexadecimal digits, without holding it in memory.

    Raises:
        DatasetError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror})") from error


def _hash(path: Path) -> str:
    try:
        return sha256_of(path)
    except DatasetError:
        return ""


def dataset_sha256(samples: Sequence[Sample]) -> str:
    """Give one hash for a set of images.

    Of their bytes and kinds, whatever their order and their folder.
    """
    lines = sorted(
        f"{sample.sha256 or _hash(sample.path)} {sample.defect_type}" for sample in samples
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def check_unchanged(samples: Sequence[Sample]) -> None:
    """Make sure that the files are those that the split was written for.

    Samples without a SHA-256 pass.

    Raises:
        DatasetError: some have changed or vanished since.
    """
    known = [sample for sample in samples if sample.sha256]
    checked = track(known, "checking images", len(known))
    if changed := [sample.path for sample in checked if _hash(sample.path) != sample.sha256]:
        raise DatasetError(
            f"{_count(changed, 'image')} changed or gone since the split was written: "
            f"{_first(changed)}; "
            "put the old files back, or write the split again with `flawmap split`"
        )


def exclude_hashes(samples: Sequence[Sample], hashes: Sequence[str]) -> list[Sample]:
    """Leave out the samples whose files have one of these SHA-256.

    Where there are none to look for, none is opened.
    """
    unwanted = set(hashes)
    return [
        sample
        for sample in samples
        if not unwanted or (sample.sha256 or _hash(sample.path)) not in unwanted
    ]


def check_disjoint(samples: Sequence[Sample]) -> None:
    """Make sure that no file is in two splits.

    A copy of a file is another file (`duplicates.near_duplicates`).

    Raises:
        DatasetError: some are.
    """
    found: dict[Path, set[Split]] = {}
    for sample in samples:
        found.setdefault(sample.path.resolve(), set()).add(sample.split)
    if shared := [path for path, splits in found.items() if len(splits) > 1]:
        raise DatasetError(
            f"{_count(shared, 'image')} in more than one split: {_first(shared)}; list each of "
            f"them once"
        )


def _count(paths: Sequence[Path], noun: str) -> str:
    return f"1 {noun} is" if len(paths) == 1 else f"{len(paths)} {noun}s are"


def _first(paths: Iterable[Path]) -> str:
    names = [str(path) for path in paths]
    more = len(names) - MAX_NAMED_FILES
    return ", ".join(names[:MAX_NAMED_FILES]) + (f" and {more} more" if more > 0 else "")
