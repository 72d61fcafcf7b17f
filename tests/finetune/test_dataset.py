from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from flawmap.errors import DatasetError
from flawmap.finetune.dataset import FineTuneDataset
from flawmap.runtime.preprocess import Preprocessing
from helpers import save, texture

SMALL = Preprocessing(64, 64)


def images(count: int, first: int = 0) -> list[np.ndarray]:
    return [texture(seed) for seed in range(first, first + count)]


def test_a_fifth_is_kept_to_check_with_and_every_other_image_comes_once_an_epoch() -> None:
    dataset = FineTuneDataset({"a": images(20), "b": images(10, 50)}, SMALL, batch_size=5)
    assert len(dataset) == 24
    assert dataset.num_batches() == 5
    labels = torch.cat([batch.labels for batch in dataset.training_batches(1)])
    assert sorted(labels.tolist()) == [0] * 16 + [1] * 8
    assert (
        sorted(torch.cat([batch.labels for batch in dataset.validation_batches()]).tolist())
        == [0] * 4 + [1] * 2
    )


def test_one_class_is_set_against_itself_with_painted_defects() -> None:
    dataset = FineTuneDataset({"good": images(40)}, SMALL)
    assert dataset.names == ["good", "painted defect"]
    labels = torch.cat(
        [batch.labels for epoch in range(1, 5) for batch in dataset.training_batches(epoch)]
    )
    assert len(labels) == 4 * 32
    assert 0.3 < labels.float().mean() < 0.7
    (checked,) = dataset.validation_batches()
    assert checked.labels.tolist() == [0, 1] * 8
    good, painted = checked.images[0::2], checked.images[1::2]
    differs = (good != painted).any(dim=1).float().mean(dim=(1, 2))
    assert (differs > 0).all()
    assert (differs < 0.7).all()


def test_the_same_epoch_is_the_same_and_another_one_is_not() -> None:
    dataset = FineTuneDataset({"good": images(10)}, SMALL, seed=3)
    (once,), (again,), (other,) = (
        dataset.training_batches(1),
        dataset.training_batches(1),
        dataset.training_batches(2),
    )
    assert torch.equal(once.images, again.images)
    assert torch.equal(once.labels, again.labels)
    assert not torch.equal(once.images, other.images)


def test_images_are_turned_and_mirrored_only_to_train() -> None:
    image = texture(0)
    dataset = FineTuneDataset({"a": [image] * 10, "b": [image] * 10}, SMALL)
    (seen,) = dataset.training_batches(1)
    assert len({tensor.numpy().tobytes() for tensor in seen.images}) == 16
    (checked,) = dataset.validation_batches()
    assert all(np.array_equal(tensor.numpy(), SMALL(image)) for tensor in checked.images)


def test_without_rotation_images_are_only_mirrored() -> None:
    image = texture(0)
    (seen,) = FineTuneDataset(
        {"a": [image] * 10, "b": [image] * 10}, SMALL, max_rotation=0
    ).training_batches(1)
    both = {SMALL(image).tobytes(), SMALL(np.ascontiguousarray(image[:, ::-1])).tobytes()}
    assert {tensor.numpy().tobytes() for tensor in seen.images} == both


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{seed}.png", texture(seed)) for seed in range(10)]
    paths[3].write_bytes(b"no image")
    assert len(FineTuneDataset({"good": paths}, SMALL)) == 7


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_images_of_a_class(count: int) -> None:
    with pytest.raises(
        DatasetError, match=rf"needs 2 images or more of each class and can read {count} of 'b'"
    ):
        FineTuneDataset({"a": images(5), "b": images(count)}, SMALL)


def test_the_fingerprint_follows_all_training_images_and_options() -> None:
    def fingerprint(count: int = 10, **settings: Any) -> str:
        return FineTuneDataset({"good": images(count)}, SMALL, **settings).fingerprint()

    prints = [
        fingerprint(),
        fingerprint(11),
        fingerprint(seed=1),
        fingerprint(max_rotation=5.0),
        fingerprint(batch_size=8),
        fingerprint(defect_types=("stain",)),
    ]
    assert len(set(prints)) == len(prints)
    assert fingerprint() == prints[0]


def test_deep_and_grey_images_are_trained_on_too() -> None:
    deep = [image.astype(np.uint16) * 257 for image in images(5)]
    shallow = FineTuneDataset({"good": images(5)}, SMALL)
    assert FineTuneDataset({"good": deep}, SMALL).fingerprint() == shallow.fingerprint()
