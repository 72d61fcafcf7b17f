"""A data set as a CSV manifest: a row per image, with its split, its group and its hash."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from flawmap.data.csv_rows import read_csv_rows, read_header
from flawmap.data.labels import defect_type_of, is_good_word, split_of_word
from flawmap.data.paths import FileKeys, resolve
from flawmap.data.sample import GOOD, FoundSamples, Sample
from flawmap.data.wording import note_unknown_words
from flawmap.errors import DatasetError
from flawmap.support.tables import write_csv

_COLUMNS = ("path", "label", "mask", "split", "group", "sha256")
_REQUIRED_COLUMNS = ("path", "label", "split")
_VISA_COLUMNS = {"object", "split", "label", "image", "mask"}
_NO_MASK = frozenset({"", "-", "none", "nan", "null", "n/a", "na"})
"""What stands in a column of masks where there is none."""


def read_manifest(file: Path, product: str = "") -> FoundSamples:
    """The images of a CSV manifest, in the order of its rows.

    Columns: `path`; optional `label` (good, or a word for it, or the type of defect), `mask`,
    `split` (`train`, the default, `calibration` or `test`), `group`, and `sha256`; or those of
    VisA: `object`, `split`, `label`, `image`, `mask`. Neither case nor blanks around a name count.
    Others may be there too where there are `label` and `split`. Paths are relative to the manifest,
    in VisA's to the folder above where they are there. `read_csv_rows` says which files are read.

    Args:
        file: path of the manifest.
        product: of VisA's manifest, the object whose images are meant; empty for the only one.

    Raises:
        DatasetError: not a manifest, or a row that cannot be read, named by its line.
    """
    rows = [row for row in _read_table(file) if not product or row.values["object"] == product]
    objects = sorted({row.values["object"] for row in rows})
    if len(objects) > 1:
        raise DatasetError(
            f"{file}: lists {len(objects)} products, {', '.join(objects)}; name one, as "
            f"{file / objects[0]}"
        )
    if not rows:
        what = f"no images of {product!r}" if product else "no images"
        raise DatasetError(f"{file}: the manifest lists {what}")
    _check_labels(rows, file)
    base = _base(file, rows)
    samples = [_to_sample(row, base, file) for row in rows]
    notes = [*_note_empty_splits(rows, file), *_note_defect_types(rows)]
    lines = [row.line for row in rows]
    return FoundSamples(_once(samples, lines, file, notes), notes)


def manifest_products(file: Path) -> list[str]:
    """Names of the objects in a manifest of VisA's; empty for any other file.

    Args:
        file: path of the file.

    Raises:
        DatasetError: its rows cannot be read.
    """
    columns = {name.casefold() for name in read_header(file)}
    if not columns >= _VISA_COLUMNS or "path" in columns:
        return []
    names = sorted({row.values["object"] for row in _read_table(file)} - {""})
    for name in names:
        if PurePath(name).name != name or "\\" in name:
            raise DatasetError(
                f"{file}: the object {name!r} cannot be the name of a product's file"
            )
    return names


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
    columns = {name.casefold() for name in read_header(file)}
    return "path" in columns or columns >= _VISA_COLUMNS


class _Row(NamedTuple):
    line: int
    values: dict[str, str]


def _read_table(file: Path) -> list[_Row]:
    rows = read_csv_rows(file)
    names = [name.casefold() for name in rows[0].cells] if rows else []
    if "path" not in names and set(names) >= _VISA_COLUMNS:
        names[names.index("image")] = "path"
    else:
        names = ["" if name == "object" else name for name in names]
        _check_columns(names, rows[0].cells if rows else [], file)
    known = [*_COLUMNS, "object"]
    table = []
    for row in rows[1:]:
        cells = dict(zip(names, row.cells, strict=True))
        table.append(_Row(row.line, {name: cells.get(name, "") for name in known}))
    return table


def _check_columns(names: Sequence[str], written: Sequence[str], file: Path) -> None:
    found = ", ".join(name for name in written if name) or "none"
    if "path" not in names:
        raise DatasetError(f"{file}: a manifest needs a column named path; it has {found}")
    twice = [name for name, count in Counter(names).items() if name and count > 1]
    if twice:
        raise DatasetError(f"{file}: {len(twice)} columns twice, {twice[0]} first; found {found}")
    others = [name for name in written if name and name.casefold() not in _COLUMNS]
    missing = [name for name in _REQUIRED_COLUMNS if name not in names]
    if others and missing:
        raise DatasetError(
            f"{file}: no column named {' and none named '.join(missing)}; found {found}. Name the "
            "columns path, label, split, or leave out those that flawmap does not know"
        )


def _check_labels(rows: Sequence[_Row], file: Path) -> None:
    """Make sure that a column of labels is filled or empty; a gap is no label."""
    empty = [row.line for row in rows if not row.values["label"]]
    if 0 < len(empty) < len(rows):
        more = f" (and in {len(empty) - 1} more lines)" if len(empty) > 1 else ""
        raise DatasetError(
            f"{file}, line {empty[0]}{more}: the label is empty where others have one; write "
            f"{GOOD} or the type of defect"
        )


def _note_empty_splits(rows: Sequence[_Row], file: Path) -> list[str]:
    empty = [row.line for row in rows if not row.values["split"]]
    if not 0 < len(empty) < len(rows):
        return []
    return [f"{file}: {len(empty)} rows without a split are taken for train, first line {empty[0]}"]


def _note_defect_types(rows: Sequence[_Row]) -> list[str]:
    labels = Counter(row.values["label"] for row in rows)
    return note_unknown_words(labels, "labels")


def _base(file: Path, rows: Sequence[_Row]) -> Path:
    """The folder that paths are relative to."""
    first = rows[0].values
    above = file.parent.absolute().parent
    is_above = bool(first["object"]) and not (file.parent / first["path"]).exists()
    return above if is_above and (above / first["path"]).exists() else file.parent


def _to_sample(row: _Row, base: Path, file: Path) -> Sample:
    values = row.values
    place = f"{file}, line {row.line}"
    if not values["path"]:
        raise DatasetError(f"{place}: the path is empty")
    split = split_of_word(values["split"]) if values["split"] else "train"
    if split is None:
        raise DatasetError(
            f"{place}: split is {values['split']!r}; write train, calibration or test"
        )
    has_mask = values["mask"].casefold() not in _NO_MASK
    return Sample(
        path=resolve(values["path"], base, place),
        split=split,
        defect_type=defect_type_of(values["label"]),
        mask=resolve(values["mask"], base, place) if has_mask else None,
        group=values["group"],
        sha256=values["sha256"].lower(),
    )


def _once(
    samples: Sequence[Sample], lines: Sequence[int], file: Path, notes: list[str]
) -> list[Sample]:
    """The samples without repeated rows; what is listed twice is noted."""
    first: dict[tuple[str, str], int] = {}
    kept: list[Sample] = []
    seen: set[tuple[int, str]] = set()
    repeated: list[Path] = []
    keys = FileKeys()
    for index, sample in enumerate(samples):
        same = first.setdefault(keys.of(sample.path), index)
        if same != index and samples[same].label != sample.label:
            raise DatasetError(
                f"{file}, line {lines[index]}: {sample.path} is {sample.defect_type}, but "
                f"{samples[same].defect_type} in line {lines[same]}"
            )
        if (same, sample.split) in seen:
            repeated.append(sample.path)
        else:
            kept.append(sample)
        seen.add((same, sample.split))
    if repeated:
        notes.append(f"{len(repeated)} rows name an image again and are left out: {repeated[0]}")
    return kept


def _sample_to_row(sample: Sample, file: Path) -> dict[str, str]:
    if sample.label and is_good_word(sample.defect_type):
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
