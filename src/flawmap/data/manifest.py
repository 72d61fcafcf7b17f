"""A data set as a CSV manifest: a row per image, with its split, its group and its hash."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

from flawmap.data.sample import GOOD, Sample, Split
from flawmap.errors import DatasetError
from flawmap.support.tables import write_csv

_COLUMNS = ("path", "label", "mask", "split", "group", "sha256")
_REQUIRED_COLUMNS = ("path", "label", "split")
_GOOD_WORDS = frozenset({"", "0", "good", "normal", "ok"})
_SPLIT_WORDS: dict[str, Split] = {
    **dict.fromkeys(("", "fit", "train", "training"), "train"),
    **dict.fromkeys(("cal", "calibration", "val", "valid", "validation"), "calibration"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def read_manifest(file: Path) -> list[Sample]:
    """The images of a CSV manifest, in the order of its rows.

    Columns: `path`; optional `label` (empty, `good`, `ok`, `normal` or `0` for a good part, else
    the type of defect), `mask`, `split` (`train`, the default, `calibration` or `test`), `group`,
    and `sha256`. Paths are relative to the manifest. Comma or semicolon, UTF-8.

    Args:
        file: path of the manifest.

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
    another drive are absolute. `mask`, `group` and `sha256` are omitted where no sample has them.

    Args:
        file: path of the manifest.
        samples: the images, one or more.

    Raises:
        DatasetError: no samples, or a type of defect that would be read back as good.
        WriteError: the file cannot be written.
    """
    if not samples:
        raise DatasetError(f"{file}: no images to list")
    rows = [_sample_to_row(sample, file) for sample in samples]
    columns = [
        name for name in _COLUMNS if name in _REQUIRED_COLUMNS or any(row[name] for row in rows)
    ]
    write_csv(file, [{name: row[name] for name in columns} for row in rows])


def is_manifest(file: Path) -> bool:
    """Whether a CSV file has the columns of a manifest.

    A manifest with a wrong row is still one, and reading it says what is wrong.

    Args:
        file: path of the CSV file.
    """
    try:
        _rows(file)
    except DatasetError:
        return False
    return True


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
            f"{file}: a manifest needs a column named path; it has {', '.join(columns) or 'none'}"
        )
    return rows


def _row_to_sample(row: dict[str, str | None], file: Path, line: int) -> Sample:
    values = {column: (row.get(column) or "").strip() for column in _COLUMNS}
    if not values["path"]:
        raise DatasetError(f"{file}, line {line}: the path is empty")
    split = values["split"].lower()
    if split not in _SPLIT_WORDS:
        raise DatasetError(
            f"{file}, line {line}: split is {values['split']!r}; write train, calibration or test"
        )
    is_good = values["label"].lower() in _GOOD_WORDS
    return Sample(
        path=file.parent / values["path"],
        split=_SPLIT_WORDS[split],
        defect_type=GOOD if is_good else values["label"],
        mask=file.parent / values["mask"] if values["mask"] else None,
        group=values["group"],
        sha256=values["sha256"].lower(),
    )


def _sample_to_row(sample: Sample, file: Path) -> dict[str, str]:
    if sample.label and sample.defect_type.strip().lower() in _GOOD_WORDS:
        raise DatasetError(
            f"{file}: {sample.path} has a defect of the type {sample.defect_type!r}, which a "
            "manifest takes for a good part; rename that type, or call its images "
            f"{GOOD}"
        )
    return {
        "path": _relative(sample.path, file.parent),
        "label": sample.defect_type,
        "mask": _relative(sample.mask, file.parent) if sample.mask else "",
        "split": sample.split,
        "group": sample.group,
        "sha256": sample.sha256,
    }


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
