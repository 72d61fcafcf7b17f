from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flawmap.data.layouts import find_dataset, find_samples
from flawmap.data.sample import Sample
from flawmap.errors import DatasetError

LISTED: dict[str, Any] = {
    "meta": {"normal_class": "OK", "prefix": "pcb/"},
    "train": [
        {
            "category": "pcb",
            "anomaly_class": "OK",
            "image_path": "OK/S0001/a.jpg",
            "mask_path": None,
        }
    ],
    "test": [
        {"anomaly_class": "OK", "image_path": "OK/S0002/b.jpg", "mask_path": None},
        {"anomaly_class": "AK", "image_path": "NG/AK/c.jpg", "mask_path": "NG/AK/c.png"},
    ],
}


@pytest.mark.parametrize("images", ["pcb", "realiad_1024/pcb", "jsons/pcb", "jsons"])
def test_the_json_lists_splits_labels_and_masks(tmp_path: Path, images: str) -> None:
    file = tmp_path / "jsons" / "pcb.json"
    file.parent.mkdir()
    file.write_text(json.dumps(LISTED))
    folder = tmp_path / images
    (folder / "OK" / "S0001").mkdir(parents=True)
    (folder / "OK" / "S0001" / "a.jpg").touch()
    first, second, third = find_samples(file)
    assert first.path.resolve() == folder / "OK/S0001/a.jpg"
    assert (first.split, first.label, first.mask) == ("train", 0, None)
    assert (second.split, second.label) == ("test", 0)
    assert (third.split, third.defect_type) == ("test", "AK")
    assert third.mask
    assert third.mask.resolve() == folder / "NG/AK/c.png"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "cannot be read as JSON"),
        ("[" * 10_000, "cannot be read as JSON"),
        ("[1]", "no list of images as Real-IAD has it"),
        ("{}", "lists no images"),
        ('{"train": [{"image_path": "a.jpg"}]}', "entry 0 of train has no image_path and anomaly"),
        ('{"holdout": [{}]}', "the list 'holdout' is neither train nor test"),
        (json.dumps(LISTED), "no file OK/S0001/a.jpg in .*pcb"),
    ],
)
def test_what_is_no_such_json_is_refused(tmp_path: Path, content: str, why: str) -> None:
    (tmp_path / "pcb.json").write_text(content)
    with pytest.raises(DatasetError, match=why):
        find_dataset(tmp_path / "pcb.json")


def test_words_for_good_count_too(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    entries = [{"anomaly_class": "normal", "image_path": "a.jpg"}]
    (tmp_path / "x.json").write_text(json.dumps({"train": entries}))
    assert find_samples(tmp_path / "x.json") == [Sample(tmp_path / "a.jpg", "train")]
