"""Where data sets keep their pictures: a flat folder, the MVTec AD layout, or a CSV manifest → a list of samples."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flawmap.errors import DatasetError
from flawmap.prepare import SUFFIXES

Split = Literal["train", "test"]

GOOD = "good"
GOOD_WORDS = frozenset({"", "0", "good", "normal", "ok"})
TEST_WORDS = frozenset({"test", "testing"})
TRAIN_WORDS = frozenset({"", "fit", "train", "training"})


@dataclass(frozen=True)
class Sample:
    """One picture of a data set.

    Args:
        path: of the picture.
        split: `train` to fit, `test` to evaluate.
        kind: `good`, or the name of the defect.
        mask: the picture that is bright where the defect is, if there is one.
    """

    path: Path
    split: Split
    kind: str = GOOD
    mask: Path | None = None

    @property
    def label(self) -> int:
        """1 for a defective part, 0 for a good one."""
        return int(self.kind != GOOD)


def find_samples(source: Path) -> list[Sample]:
    """List the pictures of a data set, whichever way it is laid out.

    Args:
        source: a CSV manifest (`read_manifest`), a folder with `train/good` (`walk_mvtec`), or a folder of good
            pictures (`walk_flat`).

    Raises:
        DatasetError: there is nothing there, or it is laid out in none of these ways.
    """
    if source.is_file():
        return read_manifest(source)
    if not source.is_dir():
        raise DatasetError(f"{source}: no such folder or manifest")
    return walk_mvtec(source) if (source / "train").is_dir() or (source / "test").is_dir() else walk_flat(source)


def good_to_fit(source: Path) -> list[Sample]:
    """List the good pictures to learn from: all of a flat folder, or the good ones of the train split.

    Raises:
        DatasetError: there are none.
    """
    samples = [sample for sample in find_samples(source) if sample.split == "train" and not sample.label]
    if not samples:
        raise DatasetError(f"{source}: no good pictures to learn from; put them in train/{GOOD}")
    return samples


def to_test(source: Path) -> list[Sample]:
    """List the pictures to evaluate on: the test split.

    Raises:
        DatasetError: there are none.
    """
    samples = [sample for sample in find_samples(source) if sample.split == "test"]
    if not samples:
        raise DatasetError(f"{source}: no test pictures; put them in test/{GOOD} and test/<type of defect>")
    return samples


def walk_flat(folder: Path) -> list[Sample]:
    """List a folder of good pictures; subfolders are not entered.

    Raises:
        DatasetError: there is no picture in it.
    """
    samples = [Sample(path, "train") for path in pictures_in(folder)]
    if not samples:
        inner = sorted({path.parent for path in pictures_below(folder)})
        hint = f"; there are some in {inner[0]}: name that folder" if inner else ""
        raise DatasetError(f"{folder}: no pictures ({', '.join(sorted(SUFFIXES))}) in it{hint}")
    return samples


def walk_mvtec(root: Path) -> list[Sample]:
    """List a data set laid out as MVTec AD.

    `train/good`, `test/good`, `test/<type>`, and masks in `ground_truth/<type>` named as the picture, with or without
    `_mask` behind, whatever their suffix. Folders that a data set does not have are left out.
    """
    train = [Sample(path, "train") for path in pictures_in(root / "train" / GOOD)]
    return train + [sample for folder in _folders(root / "test") for sample in _walk_kind(root, folder)]


def _walk_kind(root: Path, folder: Path) -> Iterator[Sample]:
    kind = folder.name
    masks = {path.stem.removesuffix("_mask"): path for path in pictures_in(root / "ground_truth" / kind)}
    for path in pictures_in(folder):
        yield Sample(path, "test", kind, masks.get(path.stem))


def read_manifest(file: Path) -> list[Sample]:
    """List the pictures of a CSV manifest.

    Columns: `path`; optional `label` (empty, `good`, `ok`, `normal` or `0` for a good part, else the type of defect),
    `mask`, and `split` (`train`, the default, or `test`). Paths are relative to the manifest. Comma or semicolon.

    Raises:
        DatasetError: not a manifest, or a row that cannot be read, named by its line.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{file}: cannot be read as a CSV manifest in UTF-8 ({error})") from error
    lines = text.splitlines()
    separator = ";" if lines and ";" in lines[0] else ","
    rows = csv.DictReader(lines, delimiter=separator)
    columns = rows.fieldnames or []
    if "path" not in columns:
        raise DatasetError(f"{file}: a manifest needs a column named path; found {', '.join(columns) or 'none'}")
    samples = [_row_to_sample(row, file, rows.line_num) for row in rows]
    if not samples:
        raise DatasetError(f"{file}: the manifest lists no pictures")
    return samples


def _row_to_sample(row: dict[str, str | None], file: Path, line: int) -> Sample:
    path, label, mask, split = ((row.get(column) or "").strip() for column in ("path", "label", "mask", "split"))
    if not path:
        raise DatasetError(f"{file}, line {line}: the path is empty")
    if split.lower() not in TRAIN_WORDS | TEST_WORDS:
        raise DatasetError(f"{file}, line {line}: split is {split!r}; write train or test")
    return Sample(
        path=file.parent / path,
        split="test" if split.lower() in TEST_WORDS else "train",
        kind=GOOD if label.lower() in GOOD_WORDS else label,
        mask=file.parent / mask if mask else None,
    )


def pictures_in(folder: Path) -> list[Path]:
    """List the pictures of a folder by name, without its subfolders; an absent folder has none."""
    return sorted(path for path in folder.glob("*") if _is_picture(path))


def pictures_below(folder: Path) -> list[Path]:
    """List the pictures of a folder and of all folders in it, by name."""
    return sorted(path for path in folder.rglob("*") if _is_picture(path))


def _is_picture(path: Path) -> bool:
    # "._x.png" is what macOS leaves beside x.png on foreign disks.
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.glob("*") if path.is_dir() and not path.name.startswith("."))
