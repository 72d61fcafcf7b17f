from __future__ import annotations

from pathlib import Path

import pytest

from flawmap.data.layouts import (
    find_products,
    find_samples,
    good_training_samples,
    labelled_test_samples,
)
from flawmap.errors import DatasetError
from helpers import save, texture


@pytest.fixture
def mvtec(tmp_path: Path) -> Path:
    for name in (
        "train/good/0.png",
        "train/good/1.JPG",
        "test/good/0.png",
        "test/crack/0.png",
        "test/dent/0.png",
    ):
        save(tmp_path / name, texture(0))
    save(tmp_path / "ground_truth/crack/0_mask.png", texture(0))
    save(tmp_path / "ground_truth/dent/0.png", texture(0))
    return tmp_path


def test_mvtec(mvtec: Path) -> None:
    assert [sample.path.name for sample in good_training_samples(mvtec)] == ["0.png", "1.JPG"]
    crack, dent, good = labelled_test_samples(mvtec)
    assert (crack.defect_type, crack.label, crack.mask) == (
        "crack",
        1,
        mvtec / "ground_truth/crack/0_mask.png",
    )
    assert (dent.defect_type, dent.mask) == ("dent", mvtec / "ground_truth/dent/0.png")
    assert (good.defect_type, good.label, good.mask) == ("good", 0, None)


def test_a_flat_folder_holds_good_images(good_folder: Path) -> None:
    save(good_folder / "deeper" / "no.png", texture(0))
    (good_folder / "notes.txt").write_text("not an image")
    save(good_folder / "._00.png", texture(0))
    samples = find_samples(good_folder)
    assert [sample.path.name for sample in samples] == [f"{number:02}.png" for number in range(12)]
    assert {(sample.split, sample.label) for sample in samples} == {("train", 0)}


def test_a_flat_folder_has_nothing_to_test(good_folder: Path) -> None:
    with pytest.raises(DatasetError, match="no test images"):
        labelled_test_samples(good_folder)


def test_no_images(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no images"):
        good_training_samples(tmp_path)


def test_images_one_level_too_deep_are_pointed_at(tmp_path: Path) -> None:
    save(tmp_path / "monday" / "0.png", texture(0))
    with pytest.raises(DatasetError, match="monday: name that folder"):
        good_training_samples(tmp_path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such folder"):
        find_samples(tmp_path / "nowhere")


def test_good_to_fit_has_the_calibration_split_too(tmp_path: Path) -> None:
    manifest = tmp_path / "parts.csv"
    manifest.write_text(
        "path,split,label\na.png,train,\nb.png,cal,\nc.png,test,\nd.png,train,dent\n"
    )
    assert [(sample.path.name, sample.split) for sample in good_training_samples(manifest)] == [
        ("a.png", "train"),
        ("b.png", "calibration"),
    ]
    manifest.write_text("path,split\nb.png,cal\nc.png,test\n")
    with pytest.raises(DatasetError, match="no good images to fit to"):
        good_training_samples(manifest)


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    for name in (
        "good/0.png",
        "good/1.png",
        "dent/0.png",
        "scratch/0.png",
        "ground_truth/dent/0_mask.png",
    ):
        save(tmp_path / "classes" / name, texture(0))
    return tmp_path / "classes"


def test_folders_named_for_what_is_in_them(classes: Path) -> None:
    assert [(sample.split, sample.defect_type) for sample in good_training_samples(classes)] == [
        ("train", "good")
    ] * 2
    dent, scratch = labelled_test_samples(classes)
    assert (dent.defect_type, dent.label, dent.mask) == (
        "dent",
        1,
        classes / "ground_truth/dent/0_mask.png",
    )
    assert (scratch.defect_type, scratch.mask) == ("scratch", None)


def test_images_beside_a_folder_named_good_are_the_data_set(classes: Path) -> None:
    save(classes / "0.png", texture(0))
    assert [sample.path for sample in find_samples(classes)] == [classes / "0.png"]


def test_products(tmp_path: Path) -> None:
    for name in (
        "White/train/good/0.png",
        "Black/good/0.png",
        "flat/0.png",
        ".hidden/0.png",
        "deeper/flat/0.png",
    ):
        save(tmp_path / name, texture(0))
    (tmp_path / "code" / "test").mkdir(parents=True)
    (tmp_path / "listed.csv").write_text("path\nflat/0.png\n")
    (tmp_path / "White.csv").write_text("path\nWhite/train/good/0.png\n")
    (tmp_path / "._White.csv").write_text("path\nx\n")
    (tmp_path / "prices.csv").write_text("part,price\n1,2\n")
    (tmp_path / "damaged.csv").write_bytes(b"path\n\xff\n")
    products = find_products(tmp_path)
    assert list(products.items()) == [
        ("Black", tmp_path / "Black"),
        ("White", tmp_path / "White.csv"),
        ("flat", tmp_path / "flat"),
        ("listed", tmp_path / "listed.csv"),
    ]
    assert all(find_samples(path) for path in products.values())


def test_one_data_set_has_no_products(mvtec: Path, good_folder: Path) -> None:
    (mvtec / "parts.csv").write_text("path\na.png\n")
    assert find_products(mvtec) == {}
    assert find_products(mvtec / "parts.csv") == {}
    assert find_products(good_folder) == {}
    assert find_products(mvtec / "nowhere") == {}


def test_a_folder_with_nothing_has_no_products(tmp_path: Path) -> None:
    assert find_products(tmp_path) == {}


def test_the_folder_above_products_points_at_one(tmp_path: Path) -> None:
    save(tmp_path / "Black" / "test" / "good" / "0.png", texture(0))
    with pytest.raises(DatasetError, match="Black: name that folder"):
        find_samples(tmp_path)
