"""Where data sets keep their images → a list of samples.

A flat folder of good ones, folders named for what is in them, the MVTec AD layout, or a CSV
manifest.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flawmap.errors import DatasetError
from flawmap.runtime.decode import SUFFIXES
from flawmap.support.tables import write_csv

Split = Literal["train", "calibration", "test"]

GOOD = "good"
GOOD_WORDS = frozenset({"", "0", "good", "normal", "ok"})
GROUND_TRUTH = "ground_truth"
SPLIT_WORDS: dict[str, Split] = {
    **dict.fromkeys(("", "fit", "train", "training"), "train"),
    **dict.fromkeys(("cal", "calibration", "val", "valid", "validation"), "calibration"),
    **dict.fromkeys(("test", "testing"), "test"),
}
MANIFEST_COLUMNS = ("path", "label", "mask", "split", "group", "sha256")


@dataclass(frozen=True)
class Sample:
    """One image of a data set.

    Args:
        path: of the image.
        split: `train` to fit, `calibration` to set the threshold, `test` to evaluate.
        kind: `good`, or the name of the defect.
        mask: the image that is bright where the defect is, if there is one.
        group: the lot, day or camera, if known: images of one group are alike in ways that others
            are not.
        sha256: of the file when its manifest was written, if known.
    """

    path: Path
    split: Split
    defect_type: str = GOOD
    mask: Path | None = None
    group: str = ""
    sha256: str = ""

    @property
    def label(self) -> int:
        """1 for a defective part, 0 for a good one."""
        return int(self.defect_type != GOOD)


def find_samples(source: Path) -> list[Sample]:
    """List the images of a data set, whichever way it is laid out.

    Args:
        source: a CSV manifest (`read_manifest`), a folder with `train` or `test` in it
            (`walk_mvtec`), a folder of good images (`walk_flat`), or a folder with `good` in it
            (`walk_classes`); the first that fits.

    Raises:
        DatasetError: there is nothing there, or it is laid out in none of these ways.
    """
    if source.is_file():
        return read_manifest(source)
    if not source.is_dir():
        raise DatasetError(f"{source}: no such folder or manifest")
    walk = _layout(source) or walk_flat
    return walk(source)


def _layout(folder: Path) -> Callable[[Path], list[Sample]] | None:
    if (folder / "train").is_dir() or (folder / "test").is_dir():
        return walk_mvtec
    if images_in(folder):
        return walk_flat
    return walk_classes if any(inner.name == GOOD for inner in _folders(folder)) else None


def find_products(source: Path) -> dict[str, Path]:
    """List the data sets that lie side by side in a folder, by name.

    A file, and a folder with images or with `train`, `test` or `good` in it, is one data set itself
    and has no products. In any other folder each subfolder in which `find_samples` finds images is
    a product, named as the subfolder, and so is each `*.csv` with a column named path, named
    without its suffix. Where both have one name the CSV counts: somebody wrote it about the folder.
    Subfolders of subfolders are not looked into.

    Returns:
        Where each product is, in the order of their names; empty where `source` is one data set, or
        none.
    """
    if not source.is_dir() or _layout(source):
        return {}
    products = {folder.name: folder for folder in _folders(source) if _is_data_set(folder)}
    return dict(sorted((products | {file.stem: file for file in _manifests(source)}).items()))


def _is_data_set(folder: Path) -> bool:
    walk = _layout(folder)
    return walk is not None and bool(walk(folder))


def _manifests(folder: Path) -> list[Path]:
    files = (
        path
        for path in folder.glob("*")
        if path.suffix.lower() == ".csv" and not path.name.startswith(".")
    )
    return sorted(file for file in files if file.is_file() and _is_manifest(file))


def _is_manifest(file: Path) -> bool:
    # By its columns only: a manifest with a wrong row is still one, and reading it says what is
    # wrong.
    try:
        _rows(file)
    except DatasetError:
        return False
    return True


def good_training_samples(source: Path) -> list[Sample]:
    """List the good images to learn from.

    Those of the train split and, where there is one, the calibration split.

    Raises:
        DatasetError: there are none in the train split.
    """
    samples = [
        sample for sample in find_samples(source) if sample.split != "test" and not sample.label
    ]
    if not any(sample.split == "train" for sample in samples):
        raise DatasetError(f"{source}: no good images to learn from; put them in train/{GOOD}")
    return samples


def labelled_test_samples(source: Path) -> list[Sample]:
    """List the images to evaluate on: the test split.

    Raises:
        DatasetError: there are none.
    """
    samples = [sample for sample in find_samples(source) if sample.split == "test"]
    if not samples:
        raise DatasetError(
            f"{source}: no test images; put them in test/{GOOD} and test/<type of defect>"
        )
    return samples


def walk_flat(folder: Path) -> list[Sample]:
    """List a folder of good images; subfolders are not entered.

    Raises:
        DatasetError: there is no image in it.
    """
    samples = [Sample(path, "train") for path in images_in(folder)]
    if not samples:
        inner = list(find_products(folder).values()) or sorted(
            {path.parent for path in images_below(folder)}
        )
        hint = (
            f"; there are some in {inner[0]}: name that {'folder' if inner[0].is_dir() else 'file'}"
            if inner
            else ""
        )
        raise DatasetError(f"{folder}: no images ({', '.join(sorted(SUFFIXES))}) in it{hint}")
    return samples


def walk_mvtec(root: Path) -> list[Sample]:
    """List a data set laid out as MVTec AD.

    `train/good`, `test/good`, `test/<type>`, and masks in `ground_truth/<type>` named as the image,
    with or without `_mask` behind, whatever their suffix. Folders that a data set does not have are
    left out.
    """
    train = [Sample(path, "train") for path in images_in(root / "train" / GOOD)]
    return train + [
        sample for folder in _folders(root / "test") for sample in _walk_kind(root, folder)
    ]


def walk_classes(root: Path) -> list[Sample]:
    """The images of a folder with `good`, to fit on, and one folder per defect type, to test.

    Masks are in `ground_truth/<type>`, if anywhere, and named as `walk_mvtec` says.
    """
    train = [Sample(path, "train") for path in images_in(root / GOOD)]
    types = [folder for folder in _folders(root) if folder.name not in (GOOD, GROUND_TRUTH)]
    return train + [sample for folder in types for sample in _walk_kind(root, folder)]


def _walk_kind(root: Path, folder: Path) -> Iterator[Sample]:
    defect_type = folder.name
    masks = {
        path.stem.removesuffix("_mask"): path
        for path in images_in(root / GROUND_TRUTH / defect_type)
    }
    for path in images_in(folder):
        yield Sample(path, "test", defect_type, masks.get(path.stem))


def read_manifest(file: Path) -> list[Sample]:
    """List the images of a CSV manifest.

    Columns: `path`; optional `label` (empty, `good`, `ok`, `normal` or `0` for a good part, else
        the type of defect), `mask`, `split` (`train`, the default, `calibration` or `test`),
        `group`, and `sha256`. Paths are relative to the manifest. Comma or semicolon.

    Raises:
        DatasetError: not a manifest, or a row that cannot be read, named by its line.
    """
    rows = _rows(file)
    samples = [_row_to_sample(row, file, rows.line_num) for row in rows]
    if not samples:
        raise DatasetError(f"{file}: the manifest lists no images")
    return samples


def write_manifest(file: Path, samples: Sequence[Sample]) -> None:
    """Write a CSV manifest that `read_manifest` reads back.

    Paths are relative to the manifest, with forward slashes, so that the folder may move; those on
    another drive are absolute. `mask`, `group` and `sha256` are left out where no sample has them.

    Raises:
        DatasetError: no samples, or a type of defect that would be read back as good.
        WriteError: the file cannot be written.
    """
    if not samples:
        raise DatasetError(f"{file}: no images to list")
    rows = [_sample_to_row(sample, file) for sample in samples]
    columns = [
        name
        for name in MANIFEST_COLUMNS
        if name in ("path", "label", "split") or any(row[name] for row in rows)
    ]
    write_csv(file, [{name: row[name] for name in columns} for row in rows])


def _rows(file: Path) -> csv.DictReader[str]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"{file}: cannot be read as a CSV manifest in UTF-8 ({error})"
        ) from error
    separator = ";" if ";" in text.partition("\n")[0] else ","
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator)
    columns = rows.fieldnames or []
    if "path" not in columns:
        raise DatasetError(
            f"{file}: a manifest needs a column named path; found {', '.join(columns) or 'none'}"
        )
    return rows


def _row_to_sample(row: dict[str, str | None], file: Path, line: int) -> Sample:
    path, label, mask, split, group, sha256 = (
        (row.get(column) or "").strip() for column in MANIFEST_COLUMNS
    )
    if not path:
        raise DatasetError(f"{file}, line {line}: the path is empty")
    if split.lower() not in SPLIT_WORDS:
        raise DatasetError(
            f"{file}, line {line}: split is {split!r}; write train, calibration or test"
        )
    return Sample(
        path=file.parent / path,
        split=SPLIT_WORDS[split.lower()],
        defect_type=GOOD if label.lower() in GOOD_WORDS else label,
        mask=file.parent / mask if mask else None,
        group=group,
        sha256=sha256.lower(),
    )


def _sample_to_row(sample: Sample, file: Path) -> dict[str, str]:
    if sample.label and sample.defect_type.strip().lower() in GOOD_WORDS:
        raise DatasetError(
            f"{file}: {sample.path} has a defect of the type {sample.defect_type!r}, which a "
            f"manifest takes for a good part; "
            f"give that type another name, or call its images {GOOD}"
        )
    mask = _relative(sample.mask, file.parent) if sample.mask else ""
    path = _relative(sample.path, file.parent)
    values = (path, sample.defect_type, mask, sample.split, sample.group, sample.sha256)
    return dict(zip(MANIFEST_COLUMNS, values, strict=True))


def _relative(path: Path, folder: Path) -> str:
    try:
        relative = Path(os.path.relpath(path, folder))
        if ".." in relative.parts:
            # The way up and down again must hold where one of the folders is a link; the name of
            # the image stays.
            relative = Path(os.path.relpath(path.parent.resolve() / path.name, folder.resolve()))
    except ValueError:  # another drive
        relative = path.absolute()
    # Blanks around a cell are dropped in reading; behind ./ they are part of the name.
    return f"./{relative.as_posix()}" if relative.as_posix()[0].isspace() else relative.as_posix()


def images_in(folder: Path) -> list[Path]:
    """List the images of a folder by name, without its subfolders; an absent folder has none."""
    return sorted(path for path in folder.glob("*") if _is_image(path))


def images_below(folder: Path) -> list[Path]:
    """List the images of a folder and of all folders in it, by name."""
    return sorted(path for path in folder.rglob("*") if _is_image(path))


def _is_image(path: Path) -> bool:
    # "._x.png" is what macOS leaves beside x.png on foreign disks.
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _folders(root: Path) -> list[Path]:
    return sorted(
        path for path in root.glob("*") if path.is_dir() and not path.name.startswith(".")
    )
