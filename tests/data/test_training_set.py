from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flawmap.data.training_set import TrainingSet
from flawmap.errors import DatasetError
from flawmap.runtime.image_types import ImageInput
from helpers import save, texture

NAMES = [f"{number:02}.png" for number in range(10)]


def test_all_images_are_fitted_unless_some_are_held_out() -> None:
    training_set = TrainingSet.of_images(NAMES)
    assert training_set.training == (NAMES, [])
    assert training_set.calibration == ([], [])
    assert training_set.hold_out(0.0, seed=0).training == (NAMES, [])


@pytest.mark.parametrize(("fraction", "count"), [(0.2, 2), (0.21, 3), (0.8, 8)])
def test_the_fraction_is_rounded_up(fraction: float, count: int) -> None:
    training_set = TrainingSet.of_images(NAMES).hold_out(fraction, seed=0)
    assert len(training_set.calibration.images) == count
    assert sorted(map(str, training_set.training.images + training_set.calibration.images)) == NAMES


def test_the_choice_is_the_seeds() -> None:
    # Files of an earlier flawmap were calibrated on this choice.
    assert TrainingSet.of_images(NAMES).hold_out(0.3, seed=0).held_out == [2, 4, 6]
    assert TrainingSet.of_images(NAMES).hold_out(0.3, seed=7).held_out != [2, 4, 6]


def test_groups_are_held_out_together() -> None:
    lots = ["a", "b", "c", "d", "e"] * 2
    training_set = TrainingSet.of_images(NAMES, lots).hold_out(0.4, seed=0)
    assert len(training_set.calibration.images) == 4
    assert len(set(training_set.calibration.groups)) == 2
    assert not set(training_set.calibration.groups) & set(training_set.training.groups)
    by_name = dict(zip(NAMES, lots, strict=True))
    assert training_set.training.groups == [
        by_name[str(name)] for name in training_set.training.images
    ]


def test_one_group_of_all_is_as_good_as_none() -> None:
    assert not TrainingSet.of_images(NAMES, ["lot 1"] * 10).groups


def test_another_number_of_groups_than_of_images() -> None:
    with pytest.raises(DatasetError, match="3 groups for 10 images"):
        TrainingSet.of_images(NAMES, ["a", "b", "c"])


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_images(count: int) -> None:
    with pytest.raises(DatasetError, match=f"{count} good images?; 2 are the fewest"):
        TrainingSet.of_images(NAMES[:count])


def test_too_few_images_are_left_for_training() -> None:
    with pytest.raises(DatasetError, match="9 of 10 good images are held out for calibration; 2"):
        TrainingSet.of_images(NAMES).hold_out(0.9, seed=0)


def test_a_manifest_says_who_calibrates(good_folder: Path) -> None:
    names = sorted(path.name for path in good_folder.iterdir())
    rows = [
        f"{name},{'calibration' if index < 4 else 'train'},lot {index % 2}"
        for index, name in enumerate(names)
    ]
    manifest = good_folder / "split.csv"
    manifest.write_text("path,split,group\n" + "\n".join(rows))
    training_set = TrainingSet.of(manifest)
    assert [Path(str(path)).name for path in training_set.calibration.images] == names[:4]
    assert training_set.calibration.groups == ["lot 0", "lot 1"] * 2
    assert training_set.hold_out(0.5, seed=0) is training_set


def test_a_folder_and_a_data_set_hold_nothing_out(good_folder: Path) -> None:
    save(good_folder.parent / "set" / "train" / "good" / "0.png", texture(0))
    save(good_folder.parent / "set" / "train" / "good" / "1.png", texture(1))
    assert len(TrainingSet.of(good_folder).training.images) == 12
    assert len(TrainingSet.of(good_folder.parent / "set").training.images) == 2


def test_no_class_holds_what_calibrates() -> None:
    images: list[ImageInput] = [
        np.zeros((2, 2, 3), np.uint8),
        "a.png",
        Path("b.png"),
        b"c",
        "d.png",
    ]
    training_set = TrainingSet(images, held_out=[0, 1, 3])
    assert training_set.images_by_class() == {"good": [Path("b.png"), "d.png"]}
    classes: dict[str, list[ImageInput]] = {
        "good": [Path("a.png"), Path("d.png")],
        "dent": ["e.png", b"c", images[0]],
    }
    assert training_set.images_by_class(classes) == {"good": [Path("d.png")], "dent": ["e.png"]}


def test_an_equal_array_is_another_image() -> None:
    images = [np.zeros((2, 2, 3), np.uint8) for _ in range(4)]
    training_set = TrainingSet(images, held_out=[0])
    assert len(training_set.images_by_class({"dent": [images[0].copy()]})["dent"]) == 1
