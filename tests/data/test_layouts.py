from __future__ import annotations

from pathlib import Path

import pytest

from flawmap.data.layouts import find_samples, good_to_fit, pictures_below, to_test
from flawmap.errors import DatasetError
from helpers import save, texture


@pytest.fixture
def mvtec(tmp_path: Path) -> Path:
    for name in ("train/good/0.png", "train/good/1.JPG", "test/good/0.png", "test/crack/0.png", "test/dent/0.png"):
        save(tmp_path / name, texture(0))
    save(tmp_path / "ground_truth/crack/0_mask.png", texture(0))
    save(tmp_path / "ground_truth/dent/0.png", texture(0))
    return tmp_path


def test_mvtec(mvtec: Path) -> None:
    assert [sample.path.name for sample in good_to_fit(mvtec)] == ["0.png", "1.JPG"]
    crack, dent, good = to_test(mvtec)
    assert (crack.kind, crack.label, crack.mask) == ("crack", 1, mvtec / "ground_truth/crack/0_mask.png")
    assert (dent.kind, dent.mask) == ("dent", mvtec / "ground_truth/dent/0.png")
    assert (good.kind, good.label, good.mask) == ("good", 0, None)


def test_a_flat_folder_holds_good_pictures(good_folder: Path) -> None:
    save(good_folder / "deeper" / "no.png", texture(0))
    (good_folder / "notes.txt").write_text("not a picture")
    save(good_folder / "._00.png", texture(0))
    samples = find_samples(good_folder)
    assert [sample.path.name for sample in samples] == [f"{number:02}.png" for number in range(12)]
    assert {(sample.split, sample.label) for sample in samples} == {("train", 0)}


def test_a_flat_folder_has_nothing_to_test(good_folder: Path) -> None:
    with pytest.raises(DatasetError, match="no test pictures"):
        to_test(good_folder)


def test_no_pictures(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no pictures"):
        good_to_fit(tmp_path)


def test_pictures_one_level_too_deep_are_pointed_at(tmp_path: Path) -> None:
    save(tmp_path / "monday" / "0.png", texture(0))
    with pytest.raises(DatasetError, match="monday: name that folder"):
        good_to_fit(tmp_path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such folder"):
        find_samples(tmp_path / "nowhere")


@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_manifest(tmp_path: Path, separator: str, encoding: str) -> None:
    rows = [
        ("path", "label", "mask", "split"),
        ("a (1).png", "good", "", "train"),
        ("b.png", "OK", "", ""),
        ("散.png", "scratch", "masks/散.png", "test"),
        ("d.png", "0", "", "Test"),
    ]
    manifest = tmp_path / "parts.csv"
    manifest.write_text("\n".join(separator.join(row) for row in rows), encoding=encoding)
    first, second, scratch, good = find_samples(manifest)
    assert (first.path, first.split, first.label) == (tmp_path / "a (1).png", "train", 0)
    assert (second.split, second.label) == ("train", 0)
    assert (scratch.kind, scratch.split, scratch.mask) == ("scratch", "test", tmp_path / "masks/散.png")
    assert (good.split, good.label) == ("test", 0)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("file,label\na.png,good\n", "column named path; found file, label"),
        ("", "found none"),
        ("path\n", "lists no pictures"),
        ("path,split\na.png,training\nb.png,holdout\n", "line 3: split is 'holdout'"),
        ("path,label\n,good\n", "line 2: the path is empty"),
    ],
)
def test_bad_manifests(tmp_path: Path, text: str, why: str) -> None:
    manifest = tmp_path / "parts.csv"
    manifest.write_text(text)
    with pytest.raises(DatasetError, match=why):
        find_samples(manifest)


def test_a_picture_is_no_manifest(good_folder: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be read as a CSV manifest"):
        find_samples(good_folder / "00.png")


def test_pictures_below_are_sorted(mvtec: Path) -> None:
    found = pictures_below(mvtec / "test")
    assert found == sorted(found)
    assert len(found) == 3
