from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from flawmap.data.layouts import (
    find_dataset,
    find_products,
    find_samples,
    good_training_samples,
    labelled_test_samples,
    skipped_folders,
)
from flawmap.data.sample import FoundSamples
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
    with pytest.raises(DatasetError, match="1 folder below it has images, none of them named good"):
        good_training_samples(tmp_path)
    save(tmp_path / "tuesday" / "line 1" / "Normal" / "0.png", texture(0))
    with pytest.raises(DatasetError, match="line 1/Normal: name that folder"):
        good_training_samples(tmp_path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such folder"):
        find_samples(tmp_path / "nowhere")


def test_good_to_fit_has_the_calibration_split_too(tmp_path: Path) -> None:
    manifest = tmp_path / "parts.csv"
    manifest.write_text(
        "path,split,label\na.png,train,ok\nb.png,cal,ok\nc.png,test,0\nd.png,train,dent\n"
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


def test_images_beside_a_folder_named_good_are_not_used(classes: Path) -> None:
    before = find_samples(classes)
    save(classes / "0.png", texture(0))
    found = find_dataset(classes)
    assert found.samples == before
    assert "1 image is not used: classes (1)" in found.notes


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
        ("damaged", tmp_path / "damaged.csv"),
        ("flat", tmp_path / "flat"),
        ("listed", tmp_path / "listed.csv"),
    ]
    with pytest.raises(DatasetError, match="line 2 holds the byte 0xff"):
        find_samples(products.pop("damaged"))
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


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def table(found: FoundSamples, root: Path) -> dict[str, tuple[str, str, str]]:
    """Split, defect type and mask of each image."""
    return {
        sample.path.relative_to(root).as_posix(): (
            sample.split,
            sample.defect_type,
            sample.mask.relative_to(root).as_posix() if sample.mask else "",
        )
        for sample in found.samples
    }


PUBLIC: dict[str, dict[str, tuple[str, str, str] | str | None]] = {
    "MVTec AD 2": {
        "train/good/0.png": ("train", "good", ""),
        "validation/good/1.png": ("calibration", "good", ""),
        "test_public/bad/2.png": ("test", "bad", "test_public/ground_truth/bad/2_mask.png"),
        "test_public/good/3.png": ("test", "good", ""),
        "test_private/4.png": None,
        "test_private_mixed/5.png": None,
    },
    "MVTec LOCO": {
        "train/good/0.png": ("train", "good", ""),
        "validation/good/1.png": ("calibration", "good", ""),
        "test/logical_anomalies/2.png": (
            *("test", "logical_anomalies"),
            "ground_truth/logical_anomalies/2",
        ),
        "ground_truth/logical_anomalies/2/000.png": "mask",
        "ground_truth/logical_anomalies/2/001.png": "mask",
    },
    "MVTec 3D": {
        "train/good/rgb/0.png": ("train", "good", ""),
        "train/good/xyz/0.tiff": None,
        "validation/good/rgb/1.png": ("calibration", "good", ""),
        "test/hole/rgb/2.png": ("test", "hole", "test/hole/gt/2.png"),
        "test/hole/xyz/2.tiff": None,
        "test/good/rgb/3.png": ("test", "good", "test/good/gt/3.png"),
    },
    "VisA": {
        "Data/Images/Normal/0.JPG": ("train", "good", ""),
        "Data/Images/Anomaly/1.JPG": ("test", "Anomaly", "Data/Masks/Anomaly/1.png"),
    },
    "BTAD": {
        "train/ok/0.bmp": ("train", "good", ""),
        "test/ok/1.bmp": ("test", "good", ""),
        "test/ko/2.bmp": ("test", "ko", "ground_truth/ko/2.png"),
    },
    "Real-IAD": {
        "OK/S0000/a_C1.jpg": ("train", "good", ""),
        "NG/BX/S0001/a_C1.jpg": ("test", "BX", "NG/BX/S0001/a_C1.png"),
        "NG/BX/S0001/a_C2.jpg": ("test", "BX", ""),
        "NG/HS/S0002/a_C1.jpg": ("test", "HS", ""),
    },
    "OK and NG": {
        "OK/a.png": ("train", "good", ""),
        "OK/day 2/b.png": ("train", "good", ""),
        "OK/day 2/reject/c.png": ("test", "reject", ""),
        "NG/a.png": ("test", "NG", "mask/a_mask.png"),
        "NG/b.png": ("test", "NG", ""),
    },
    "capitals": {
        "Train/Normal/0.png": ("train", "good", ""),
        "Train/0.png": None,
        "Train/Anomaly/1.png": ("train", "Anomaly", ""),
        "TEST/OK/2.png": ("test", "good", ""),
        "TEST/gt/3.png": ("test", "gt", "Ground-Truth/gt/3_GT.png"),
        "other/4.png": None,
    },
    "images without folders": {
        "train/0.png": ("train", "good", ""),
        "val/1.png": ("calibration", "good", ""),
        "test/2.png": None,
    },
}


@pytest.mark.parametrize("name", PUBLIC)
def test_layouts_of_public_data_sets(tmp_path: Path, name: str) -> None:
    expected = {file: row for file, row in PUBLIC[name].items() if isinstance(row, tuple)}
    files = [file for file, row in PUBLIC[name].items()]
    masks = [row[2] for row in expected.values() if row[2].endswith(".png")]
    found = find_dataset(touch(tmp_path / "set", *files, *masks))
    assert table(found, tmp_path / "set") == expected
    unused = sum(row is None for row in PUBLIC[name].values())
    noted = [note for note in found.notes if "not used" in note]
    assert bool(unused) == bool(noted)
    assert not unused or noted[0].startswith(f"{unused} image")
    assert find_products(tmp_path / "set") == {}
    assert find_products(tmp_path) == {"set": tmp_path / "set"}


def test_defects_among_the_training_images_are_not_learned(tmp_path: Path) -> None:
    touch(tmp_path, "train/good/0.png", "train/NG/1.png", "train/good/ng_2/2.png")
    (sample,) = good_training_samples(tmp_path)
    assert sample.path.name == "0.png"
    note = "2 images are defective and not learned: train/NG (1), train/good/ng_2 (1)"
    assert note in find_dataset(tmp_path).notes


@pytest.mark.parametrize("name", ["NG", "ko", "Bad", "not_ok", "Defective parts", "reject 2"])
def test_a_folder_named_for_defects_is_never_learned_from(tmp_path: Path, name: str) -> None:
    touch(tmp_path, f"{name}/0.png", f"{name}/1.png")
    with pytest.raises(DatasetError, match="named for defective parts"):
        find_samples(tmp_path / name)
    with pytest.raises(DatasetError, match=f"no good images to fit to, but {name} in test"):
        good_training_samples(tmp_path)
    touch(tmp_path, "Black/train/good/0.png")
    assert list(find_products(tmp_path)) == ["Black"]
    (note,), closed = skipped_folders(tmp_path, find_products(tmp_path))
    assert note == f"1 folder with images is no product: {name}"
    assert not closed


def test_where_nothing_is_good_the_words_are_said(tmp_path: Path) -> None:
    touch(tmp_path, "train/day1/0.png", "test/day1/1.png")
    with pytest.raises(DatasetError, match=r"day1 in train \(1\), day1 in test \(1\); .* say good"):
        good_training_samples(tmp_path)
    assert any("nothing is good, but day1 (2)" in note for note in find_dataset(tmp_path).notes)


@pytest.mark.parametrize("suffix", ["_GT", "_label", "-mask", ".Mask"])
def test_masks_beside_unlabelled_images_say_which_are_good(tmp_path: Path, suffix: str) -> None:
    empty = np.zeros((8, 8), np.uint8)
    marked = np.eye(8, dtype=np.uint8) * 255
    for name, mask in (("train/a", empty), ("train/b", marked), ("test/c", empty)):
        touch(tmp_path, f"{name}.jpg")
        save(tmp_path / f"{name}{suffix}.png", mask)
    touch(tmp_path, "test/d.jpg", f"test/d{suffix}.png", "test/no mask.jpg")
    found = find_dataset(tmp_path)
    split_and_type = {sample.path.name: sample.defect_type for sample in found.samples}
    assert split_and_type == {
        **{"a.jpg": "good", "b.jpg": "defective", "c.jpg": "good"},
        "d.jpg": "defective",  # its mask cannot be read
    }
    assert [sample.path.name for sample in good_training_samples(tmp_path)] == ["a.jpg"]
    assert "1 image is not used: test (1)" in found.notes
    assert "masks say which images are good: 2 good, 2 defective" in found.notes


def test_kolektor_sdd(tmp_path: Path) -> None:
    for number, level in enumerate((0, 0, 255)):
        folder = tmp_path / f"kos{number:02}"
        touch(folder, "Part0.jpg")
        save(folder / "Part0_label.bmp", np.full((8, 8), level, np.uint8))
    found = find_dataset(tmp_path)
    assert [(sample.split, sample.defect_type, sample.group) for sample in found.samples] == [
        ("train", "good", "kos00"),
        ("train", "good", "kos01"),
        ("test", "defective", "kos02"),
    ]
    assert find_products(tmp_path) == {}


def test_half_of_the_masks_and_strange_masks_are_named(mvtec: Path) -> None:
    touch(mvtec, "test/crack/1.png", "ground_truth/crack/9.png", "ground_truth/crack/8_mask.png")
    notes = find_dataset(mvtec).notes
    assert any(
        re.fullmatch(r"1 of 3 defective images has no mask, first .*crack/1.png", note)
        for note in notes
    )
    assert any("2 masks belong to no image, first" in note for note in notes)


def test_two_masks_of_one_image_are_both_named_and_neither_is_used(mvtec: Path) -> None:
    touch(mvtec, "ground_truth/crack/0.png")
    crack = labelled_test_samples(mvtec)[0]
    assert crack.mask is None
    assert "ground_truth/crack/0.png and " in crack.mask_problem
    assert "0_mask.png" in crack.mask_problem


def test_masks_in_one_folder_for_all_types(tmp_path: Path) -> None:
    touch(tmp_path, "train/ok/0.png", "test/dent/1.png", "test/dent/2.png", "test/hole/2.png")
    touch(tmp_path, "masks/1_seg.png", "masks/2_seg.png")
    found = find_dataset(tmp_path)
    masks = [sample.mask.name for sample in found.samples if sample.mask]
    assert masks == ["1_seg.png"]  # of the two images named 2, which one is not known
    assert any("1 mask belongs to no image" in note for note in found.notes)


def test_an_image_in_train_and_in_test_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "b.png", "c.png")
    (tmp_path / "parts.csv").write_text(
        "path,label,split\na.png,0,train\nb.png,0,train\n./b.png,0,test\nc.png,1,test\n"
    )
    notes = find_dataset(tmp_path / "parts.csv").notes
    assert any("1 image is in more than one split" in note and "b.png" in note for note in notes)


def test_subfolders_of_a_flat_folder_and_other_files_are_said(good_folder: Path) -> None:
    touch(good_folder, "day 2/0.png", "day 2/1.png", "a.heic")
    found = find_dataset(good_folder)
    assert len(found.samples) == 12
    assert found.notes == [
        "2 images are not used: day 2 (2)",
        "1 file is no image and is passed over: .heic (1)",
    ]


def test_a_closed_folder_is_named(closed_folder: Path) -> None:
    found = find_dataset(closed_folder.parent)
    assert len(found.samples) == 1
    assert "cam2: the folder cannot be read" in found.unusable[0]


def test_a_folder_of_images_beside_one_of_masks(tmp_path: Path) -> None:
    touch(tmp_path, "images/a.jpg", "images/b.jpg", "images/c.jpg", "images/day 1/NG/d.jpg")
    save(tmp_path / "masks" / "a.png", np.zeros((8, 8), np.uint8))
    save(tmp_path / "masks" / "b.png", np.eye(8, dtype=np.uint8) * 255)
    assert [sample.path.name for sample in good_training_samples(tmp_path)] == ["a.jpg", "c.jpg"]
    marked, named = labelled_test_samples(tmp_path)
    assert marked.mask == tmp_path / "masks" / "b.png"
    assert (named.path.name, named.defect_type) == ("d.jpg", "NG")
    assert find_products(tmp_path) == {}


def test_a_manifest_in_a_folder_that_is_read_is_named(good_folder: Path) -> None:
    (good_folder / "labels.csv").write_text("path,label\n00.png,NG\n")
    (good_folder / "prices.csv").write_text("part,price\n00,1\n")
    notes = [note for note in find_dataset(good_folder).notes if "manifest" in note]
    assert notes == [
        f"{good_folder / 'labels.csv'} is a manifest and was not read; name it to use its labels"
    ]
