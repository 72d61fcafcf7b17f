from __future__ import annotations

import hashlib
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from flawmap.data.sample import Sample, Split
from flawmap.data.splits import (
    SplitFractions,
    assign_splits,
    check_unchanged,
    dataset_sha256,
    sha256_of,
)
from flawmap.errors import DatasetError, OptionError
from flawmap.support.progress import listen


def files(
    folder: Path, count: int, split: Split = "train", defect_type: str = "good", groups: int = 0
) -> list[Sample]:
    folder.mkdir(parents=True, exist_ok=True)
    samples = []
    for number in range(count):
        path = folder / f"{number:03}.png"
        path.write_bytes(f"{folder.name} {number}".encode())
        samples.append(
            Sample(path, split, defect_type, group=f"lot {number % groups}" if groups else "")
        )
    return samples


def places(samples: list[Sample]) -> dict[str, str]:
    return {sample.path.name: sample.split for sample in samples}


def test_the_fractions_are_met_about(tmp_path: Path) -> None:
    counts = Counter(sample.split for sample in assign_splits(files(tmp_path, 600)))
    assert abs(counts["train"] - 360) < 40
    assert abs(counts["calibration"] - 90) < 30
    assert abs(counts["test"] - 150) < 40


def test_known_splits(tmp_path: Path) -> None:
    # Written down so that no later version moves images of data sets that were split by this one.
    placed = assign_splits(files(tmp_path, 20))
    assert [n for n, sample in enumerate(placed) if sample.split == "calibration"] == [16]
    assert [n for n, sample in enumerate(placed) if sample.split == "test"] == [0, 1, 6, 8, 10, 14]


def test_neither_order_nor_folder_nor_others_move_an_image(tmp_path: Path) -> None:
    few, many = files(tmp_path / "here", 40), files(tmp_path / "there", 80)
    random.Random(0).shuffle(many)
    before, after = places(assign_splits(few)), places(assign_splits(many))
    assert before.items() <= after.items()


def test_another_seed_gives_another_split(tmp_path: Path) -> None:
    samples = files(tmp_path, 60)
    assert places(assign_splits(samples)) != places(assign_splits(samples, seed=1))


def test_the_two_spellings_of_a_name_are_one(tmp_path: Path) -> None:
    samples = []
    for number in range(30):
        for folder, letter in (("one", "\u00fc"), ("two", "u\u0308")):
            path = tmp_path / folder / f"{letter}{number}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"")
            samples.append(Sample(path, "train"))
    placed = assign_splits(samples)
    assert [sample.split for sample in placed[::2]] == [sample.split for sample in placed[1::2]]


def test_groups_stay_together(tmp_path: Path) -> None:
    placed = assign_splits(files(tmp_path, 200, groups=40))
    for group in {sample.group for sample in placed}:
        assert len({sample.split for sample in placed if sample.group == group}) == 1


def test_defects_are_all_to_test(tmp_path: Path) -> None:
    defects = files(tmp_path / "dent", 10, "train", "dent")
    placed = assign_splits(files(tmp_path / "good", 60) + defects)
    assert {sample.split for sample in placed if sample.label} == {"test"}
    assert any(sample.split == "test" and not sample.label for sample in placed)


def test_test_images_are_kept(tmp_path: Path) -> None:
    train, test = files(tmp_path / "train", 100), files(tmp_path / "test", 20, "test")
    placed = assign_splits(train + test)
    assert {sample.split for sample in placed[100:]} == {"test"}
    counts = Counter(sample.split for sample in placed[:100])
    assert set(counts) == {"train", "calibration"}
    assert abs(counts["train"] - 80) < 15


def test_test_images_may_be_split_again(tmp_path: Path) -> None:
    placed = assign_splits(
        files(tmp_path / "train", 100) + files(tmp_path / "test", 20, "test"), keep_test=False
    )
    assert {sample.split for sample in placed[:100]} == {sample.split for sample in placed[100:]}
    assert {sample.split for sample in placed[100:]} == {"train", "calibration", "test"}


def test_splitting_twice_changes_nothing(tmp_path: Path) -> None:
    once = assign_splits(files(tmp_path, 60))
    assert assign_splits(once) == once


def test_a_fraction_of_0_gives_no_images(tmp_path: Path) -> None:
    samples = files(tmp_path, 40)
    assert {sample.split for sample in assign_splits(samples, SplitFractions(1, 0, 0))} == {"train"}
    assert {sample.split for sample in assign_splits(samples, SplitFractions(0.7, 0.3, 0))} == {
        "train",
        "calibration",
    }


@pytest.mark.parametrize(
    "fractions", [(0, 0.5, 0.5), (0.6, 0.15, 0.2), (1.2, -0.2, 0), (float("nan"), 0.5, 0.5)]
)
def test_fractions_that_cannot_be(fractions: tuple[float, float, float]) -> None:
    with pytest.raises(OptionError, match="fractions are train"):
        SplitFractions(*fractions)


def test_a_split_that_comes_out_empty(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError,
        match=r"2 good images: .* to test; none to .* Add good images, take another",
    ):
        assign_splits(files(tmp_path, 2))
    with pytest.raises(DatasetError, match="200 good images in 1 group, which stay together"):
        assign_splits(files(tmp_path, 200, groups=1))
    with pytest.raises(DatasetError, match="0 good images"):
        assign_splits(files(tmp_path, 10, "test", "dent"))


def test_the_files_are_hashed(tmp_path: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    with listen(lambda *step: heard.append(step)):
        placed = assign_splits(files(tmp_path, 30))
    for sample in placed:
        assert (
            sample.sha256
            == hashlib.sha256(sample.path.read_bytes()).hexdigest()
            == sha256_of(sample.path)
        )
    assert heard[-1] == ("hashing images", 30, 30)
    check_unchanged(placed)


def test_missing_files_are_named(tmp_path: Path) -> None:
    samples = files(tmp_path, 30)
    for sample in samples[:5]:
        sample.path.unlink()
    with pytest.raises(
        DatasetError, match=r"5 files are missing .*000\.png, .*001\.png, .*002\.png and 2 more"
    ):
        assign_splits(samples)
    with pytest.raises(DatasetError, match=r"000\.png: cannot be read"):
        sha256_of(samples[0].path)


def test_changed_images_are_named(tmp_path: Path) -> None:
    placed = assign_splits(files(tmp_path, 30))
    placed[3].path.write_bytes(b"another")
    with pytest.raises(
        DatasetError, match=r"1 image is changed or gone .*003\.png; .*flawmap split"
    ):
        check_unchanged(placed)
    placed[4].path.unlink()
    with pytest.raises(DatasetError, match=r"2 images are changed or gone"):
        check_unchanged(placed)
    check_unchanged([replace(sample, sha256="") for sample in placed])


def test_a_file_in_two_splits(tmp_path: Path) -> None:
    samples = files(tmp_path / "a", 3)
    again = tmp_path / "a" / ".." / "a" / "001.png"
    defective = Sample(again, "test", "scratch")
    only_train = SplitFractions(1.0, 0.0, 0.0)
    with pytest.raises(DatasetError, match=r"1 image is in more than one split: .*001\.png"):
        assign_splits([*samples, defective], only_train)
    twice = replace(samples[1], path=again)
    assert len(assign_splits([*samples, twice], only_train)) == 4


def test_the_hash_of_all_follows_from_bytes_and_defect_types_alone(tmp_path: Path) -> None:
    originals = files(tmp_path / "here", 3)
    moved = []
    for number, sample in enumerate(reversed(originals)):
        path = tmp_path / "there" / f"other name {number}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(sample.path.read_bytes())
        moved.append(Sample(path, "test"))
    assert dataset_sha256(originals) == dataset_sha256(moved)
    assert dataset_sha256(originals) != dataset_sha256(
        [*originals[:2], replace(originals[2], defect_type="spot")]
    )
    assert dataset_sha256(originals) != dataset_sha256(originals[:2])
