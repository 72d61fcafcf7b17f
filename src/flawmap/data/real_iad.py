"""The JSON in which Real-IAD lists the images of a product."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flawmap.data.labels import defect_type_of, split_of_word
from flawmap.data.paths import resolve
from flawmap.data.sample import GOOD, FoundSamples, Sample
from flawmap.errors import DatasetError


def read_real_iad(file: Path) -> FoundSamples:
    """The images of a JSON file of Real-IAD (Wang et al. 2024), in their order.

    It has lists `train` and `test` of objects with `image_path`, `anomaly_class` and `mask_path`,
    and `meta` with the word for good and the product's folder. That folder is looked for beside the
    file, in up to two folders above it, and in what is named as the data set there.

    Args:
        file: path of the JSON file.

    Raises:
        DatasetError: it is no such file, or the folder of its images is not found.
    """
    data = _load(file)
    meta = data.get("meta") or {}
    good = str(meta.get("normal_class", "OK"))
    entries = list(_entries(data, file))
    if not entries:
        raise DatasetError(f"{file}: lists no images")
    prefix = str(meta.get("prefix", ""))
    base = _find_base(file, prefix, str(entries[0][1]["image_path"]))
    samples = []
    for split_word, entry in entries:
        place = f"{file}, {entry['image_path']}"
        mask, label = entry.get("mask_path"), str(entry["anomaly_class"])
        samples.append(
            Sample(
                resolve(str(entry["image_path"]), base, place),
                split_of_word(split_word) or "test",
                GOOD if label == good else defect_type_of(label),
                resolve(str(mask), base, place) if mask else None,
            )
        )
    return FoundSamples(samples)


def _load(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{file}: cannot be read as JSON ({error})") from error
    if not isinstance(data, dict) or not isinstance(data.get("meta") or {}, dict):
        raise DatasetError(f"{file}: no list of images as Real-IAD has it; give a CSV manifest")
    return data


def _entries(data: Mapping[str, Any], file: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each image's object with the name of the list that it is in."""
    for name in data:
        if name == "meta" or not isinstance(data[name], list):
            continue
        if split_of_word(name) is None:
            raise DatasetError(f"{file}: the list {name!r} is neither train nor test")
        for number, entry in enumerate(data[name]):
            if not isinstance(entry, dict) or not {"image_path", "anomaly_class"} <= entry.keys():
                raise DatasetError(
                    f"{file}: entry {number} of {name} has no image_path and anomaly_class"
                )
            yield name, entry


def _find_base(file: Path, prefix: str, image: str) -> Path:
    """The folder that the paths of images are relative to."""
    above = [file.parent, *list(file.absolute().parents)[1:3]]
    beside = [inner for folder in above for inner in sorted(folder.glob("[rR]eal*[iI][aA][dD]*"))]
    tried = [folder / inner for folder in [*above, *beside] for inner in (prefix, "")]
    for folder in tried:
        if (folder / image).is_file():
            return folder
    raise DatasetError(
        f"{file}: no file {image} in {file.parent / prefix}, nor in the folders beside and above; "
        "put the JSON beside the folder of its product"
    )
