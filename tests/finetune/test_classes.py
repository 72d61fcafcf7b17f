from __future__ import annotations

from pathlib import Path

import pytest

from flawmap.data.layouts import find_dataset
from flawmap.errors import DatasetError
from flawmap.finetune.classes import classes_by_product, classes_with_real_defects
from helpers import save, texture


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return make(tmp_path / "one")


def make(root: Path, *, defects: int = 10) -> Path:
    for seed in range(4):
        save(root / "train" / "good" / f"{seed}.png", texture(seed))
        save(root / "test" / "good" / f"{seed}.png", texture(10 + seed))
    for defect_type in ("dent", "scratch") if defects else ():
        for seed in range(defects):
            save(root / "test" / defect_type / f"{seed}.png", texture(20 + seed))
    return root


def test_products_are_classes_of_their_good_training_images(tmp_path: Path) -> None:
    make(tmp_path / "Black")
    make(tmp_path / "White")
    classes = classes_by_product(tmp_path)
    assert list(classes) == ["Black", "White"]
    assert all("train" in path.parts for paths in classes.values() for path in paths)


def test_one_product_is_not_enough(dataset: Path) -> None:
    with pytest.raises(DatasetError, match="one data set, not a folder of them"):
        classes_by_product(dataset)
    with pytest.raises(DatasetError, match="only one;"):
        classes_by_product(dataset.parent)


def test_a_fifth_of_each_defect_type_is_sampled_by_name_and_not_by_order(dataset: Path) -> None:
    sampled = classes_with_real_defects(find_dataset(dataset))["defective"]
    assert [path.parent.name for path in sampled] == ["dent"] * 2 + ["scratch"] * 2
    assert sampled == classes_with_real_defects(find_dataset(dataset))["defective"]
    assert {path.name for path in sampled[:2]} == {path.name for path in sampled[2:]}
    save(dataset / "test" / "hole" / "0.png", texture(99))
    with_hole = classes_with_real_defects(find_dataset(dataset))["defective"]
    assert [path for path in with_hole if path.parent.name != "hole"] == sampled


def test_sampled_defects_stand_against_good_training_images(dataset: Path) -> None:
    classes = classes_with_real_defects(find_dataset(dataset))
    assert {name: len(paths) for name, paths in classes.items()} == {"good": 4, "defective": 4}
    assert all("train" in path.parts for path in classes["good"])


def test_no_defects_to_hold_out(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no defective images to hold out; use synthetic"):
        classes_with_real_defects(find_dataset(make(tmp_path / "one", defects=0)))
