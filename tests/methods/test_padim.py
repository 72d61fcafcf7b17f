"""PaDiM against a naive float64 implementation, and leave-out against real refits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from flawmap.engine.batches import Batch, Batches
from flawmap.engine.convert import export_programs
from flawmap.errors import DatasetError, NotFitted, OptionError
from flawmap.features.backbone import Backbone
from flawmap.features.feature_extractor import FeatureExtractor
from flawmap.methods import padim
from flawmap.methods.base import State
from flawmap.methods.padim import PaDiM
from flawmap.runtime.preprocess import Preprocessing
from helpers import texture, with_defect

SIZE = Preprocessing(64, 96)
GOOD = [texture(seed, 64, 96) for seed in range(7)]
NEW = [texture(seed, 64, 96) for seed in (50, 51)]
RIDGE = 1e-5  # random weights make small vectors: beside 0.01 their covariance would not count
TINY: dict[str, Any] = {
    "backbone": "test_resnet",
    "weights": "random",
    "channels": 20,
    "ridge": RIDGE,
}


def batches(images: list[np.ndarray], size: int = 4) -> Batches:
    return Batches(images, SIZE, size)


def images(arrays: list[np.ndarray]) -> torch.Tensor:
    (batch,) = batches(arrays, len(arrays))
    return batch.images


def stretch(grid: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear with half-pixel centres, value by value."""
    out = np.empty((height, width))
    for row in range(height):
        for column in range(width):
            y = np.clip((row + 0.5) * grid.shape[0] / height - 0.5, 0, grid.shape[0] - 1)
            x = np.clip((column + 0.5) * grid.shape[1] / width - 0.5, 0, grid.shape[1] - 1)
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, grid.shape[0] - 1), min(x0 + 1, grid.shape[1] - 1)
            top = grid[y0, x0] * (1 - x + x0) + grid[y0, x1] * (x - x0)
            bottom = grid[y1, x0] * (1 - x + x0) + grid[y1, x1] * (x - x0)
            out[row, column] = top * (1 - y + y0) + bottom * (y - y0)
    return out


def naive_vectors(network: FeatureExtractor, image: np.ndarray, channels: list[int]) -> np.ndarray:
    """(row, column, channel), coarse layers repeated over their blocks."""
    maps = [layer[0].double().numpy() for layer in network(images([image]))]
    height, width = maps[0].shape[1:]
    blocks = [
        np.kron(layer, np.ones((1, height // layer.shape[1], width // layer.shape[2])))
        for layer in maps
    ]
    return np.concatenate(blocks)[channels].transpose(1, 2, 0)


def naive_map(good: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Distances by position of (image, row, column, channel) to (row, column, channel)."""
    distances = np.empty(new.shape[:2])
    for row, column in np.ndindex(distances.shape):
        vectors = good[:, row, column]
        covariance = np.cov(vectors, rowvar=False) + RIDGE * np.eye(vectors.shape[1])
        difference = new[row, column] - vectors.mean(axis=0)
        distances[row, column] = np.sqrt(difference @ np.linalg.inv(covariance) @ difference)
    return np.asarray(gaussian_filter(stretch(distances, 64, 96), 4))


def close(first: State, second: State, tolerance: float) -> bool:
    return all(
        torch.allclose(first[key], second[key], rtol=tolerance, atol=tolerance) for key in first
    )


# With 7 images the ridge stands in for most directions of 50 channels; with 40 it does not for 20.
@pytest.mark.parametrize(("count", "channels"), [(7, 50), (40, 20)])
def test_agrees_with_its_naive_twin(count: int, channels: int) -> None:
    arrays = [texture(seed, 64, 96) for seed in range(count)]
    method = PaDiM(**TINY | {"channels": channels}).fit(batches(arrays))
    kept = method.fitted_state()["channels"].tolist()
    good = np.stack([naive_vectors(method.feature_extractor, image, kept) for image in arrays])
    scores = method.score(images(NEW))
    for number, image in enumerate(NEW):
        expected = naive_map(good, naive_vectors(method.feature_extractor, image, kept))
        assert np.allclose(scores.pixel[number], expected, rtol=1e-5, atol=0)
        assert float(scores.image[number]) == pytest.approx(expected.max(), rel=1e-5)


def test_whatever_the_batches_the_moments_are_those_of_all_vectors() -> None:
    class SmallUpdates(PaDiM):
        images_per_update = 3

    method = SmallUpdates(**TINY)
    part = method.extract(batches(GOOD, 2))
    vectors = np.stack(
        [
            naive_vectors(method.feature_extractor, image, part["channels"].tolist())
            for image in GOOD
        ]
    )
    vectors = vectors.reshape(len(GOOD), 16 * 24, 20)
    assert int(part["count"]) == len(GOOD)
    assert np.allclose(part["mean"], vectors.mean(axis=0), rtol=1e-5)
    for position in (0, 49, 50, 383):
        scatter = np.cov(vectors[:, position], rowvar=False) * (len(GOOD) - 1)
        assert np.allclose(part["scatter"][position], scatter, rtol=1e-4, atol=1e-5 * scatter.max())


@pytest.mark.parametrize("cuts", [(3,), (1,), (2, 3), (1, 2, 3, 4, 5, 6)])
def test_shards_add_up_but_for_rounding(cuts: tuple[int, ...]) -> None:
    # In batches of one the network rounds the same however images are shared out.
    at_once = PaDiM(**TINY).fit(batches(GOOD, 1)).fitted_state()
    chunks = [GOOD[start:end] for start, end in zip((0, *cuts), (*cuts, len(GOOD)), strict=True)]
    parts = [PaDiM(**TINY).extract(batches(chunk, 1)) for chunk in chunks]
    before = [{key: tensor.clone() for key, tensor in part.items()} for part in parts]
    method = PaDiM(**TINY).fit_shards(parts)
    assert close(at_once, method.fitted_state(), 1e-6)
    assert all(
        torch.equal(first[key], second[key])
        for first, second in zip(parts, before, strict=True)
        for key in first
    )


def test_shards_of_unlike_images_add_up() -> None:
    # Means far apart: all of the covariance is between the chunks.
    dark, bright = np.full((64, 96, 3), 5, np.uint8), np.full((64, 96, 3), 250, np.uint8)
    images = [dark, dark, dark, bright]
    at_once = PaDiM(**TINY).fit(batches(images, 1)).fitted_state()
    parts = [PaDiM(**TINY).extract(batches(chunk, 1)) for chunk in (images[:3], images[3:])]
    assert parts[0]["scatter"].abs().max() < 1e-9
    assert close(at_once, PaDiM(**TINY).fit_shards(parts).fitted_state(), 1e-5)


@pytest.mark.parametrize(("count", "channels"), [(3, 20), (7, 20), (24, 8)])
def test_leaving_out_is_refitting_without(count: int, channels: int) -> None:
    options: dict[str, Any] = TINY | {"channels": channels}
    arrays = [texture(seed, 64, 96) for seed in range(count)]
    method = PaDiM(**options)
    held_out = method.cross_fit_scores(batches(arrays))
    assert torch.equal(held_out.image, held_out.peak)
    for left_out in {0, 1, count - 1}:
        others = PaDiM(**options).fit(batches(arrays[:left_out] + arrays[left_out + 1 :]))
        score = others.score(images([arrays[left_out]]))
        assert float(held_out.image[left_out]) == pytest.approx(float(score.image[0]), rel=1e-4)
    # The fit is to all of them.
    assert close(method.fitted_state(), PaDiM(**options).fit(batches(arrays)).fitted_state(), 0)


def test_two_images_score_each_other() -> None:
    held_out = PaDiM(**TINY).cross_fit_scores(batches(GOOD[:2]))
    by_the_other = PaDiM(**TINY).fit(batches(GOOD[1:2])).score(images(GOOD[:1]))
    assert float(held_out.image[0]) == pytest.approx(float(by_the_other.image[0]), rel=1e-4)


def test_images_of_one_group_are_left_out_together() -> None:
    twins = [image for image in GOOD[:4] for _ in range(2)]
    groups = [str(number // 2) for number in range(len(twins))]
    together = PaDiM(**TINY).cross_fit_scores(Batches(twins, SIZE, groups=groups))
    others = PaDiM(**TINY).fit(batches(twins[2:])).score(images(twins[:2]))
    assert torch.allclose(together.image[:2], others.image, rtol=1e-4)


def test_saved_and_restored_it_scores_the_same_bit_for_bit() -> None:
    method = PaDiM(**TINY, seed=3).fit(batches(GOOD))
    assert {"mean", "whitening", "channels"} == set(method.fitted_state())
    again = PaDiM.from_options(method.options()).load_state_dict(
        {key: value.clone() for key, value in method.state_dict().items()}
    )
    for first, second in zip(method.score(images(NEW)), again.score(images(NEW)), strict=True):
        assert torch.equal(first, second)


def test_the_seed_chooses_the_channels() -> None:
    first, same, other = (
        PaDiM(**TINY, seed=seed).fit(batches(GOOD)).fitted_state() for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not torch.equal(first["channels"], other["channels"])
    assert first["channels"].unique().tolist() == first["channels"].tolist()


def test_as_many_channels_as_published_and_never_more_than_there_are() -> None:
    def kept(**options: Any) -> int:
        return len(
            PaDiM(**{"backbone": "test_resnet", "weights": "random"} | options)._channel_indices()
        )

    assert kept() == 100
    assert kept(layers=(1,)) == sum(Backbone("test_resnet", (1,), "random").channels)
    assert kept(backbone="resnet18") == 100
    assert kept(backbone="wide_resnet50_2") == 550
    assert kept(channels=10_000) == sum(Backbone("test_resnet", (1, 2, 3), "random").channels)


@pytest.mark.parametrize("count", [1, 2])
def test_one_image_is_enough_to_score(count: int) -> None:
    method = PaDiM(**TINY).fit(batches(GOOD[:count]))
    scores = method.score(images([*GOOD[:1], *NEW]))
    assert torch.isfinite(scores.pixel).all()
    assert scores.image[0] < scores.image[1:].min()


def test_a_batch_is_its_images_one_by_one() -> None:
    method = PaDiM(**TINY).fit(batches(GOOD))
    together, alone = method.score(images(NEW)), [method.score(images([image])) for image in NEW]
    assert torch.allclose(together.pixel, torch.cat([scores.pixel for scores in alone]), rtol=1e-5)
    assert torch.equal(together.image, together.pixel.amax(dim=(1, 2)))


def test_the_graph_takes_any_number_of_images_and_scores_the_same() -> None:
    method = PaDiM(**TINY).fit(batches(GOOD))
    programs = export_programs(method.encoder(), method.exportable_head(), 64, 96)
    look, compare = programs.encoder.module(), programs.head.module()
    for count in (1, 3):
        arrays = images(GOOD[:count])
        image, pixel = compare(*look(arrays))
        assert torch.allclose(pixel, method.score(arrays).pixel, rtol=1e-5)
        assert torch.equal(image, pixel.amax(dim=(1, 2)))


def test_too_much_for_the_memory_is_refused_before_it_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # 16×24 positions of 20 channels take 1.84 MB.
    monkeypatch.setattr(padim, "available_memory", lambda: 1_000_000)
    with pytest.raises(
        OptionError, match=r"20 channels at 16×24 .* 0.00 GB are free; use channels=14 or fewer"
    ):
        PaDiM(**TINY).fit(batches(GOOD))
    PaDiM(**TINY | {"channels": 14}).fit(batches(GOOD))
    monkeypatch.setattr(padim, "available_memory", lambda: None)
    PaDiM(**TINY).fit(batches(GOOD))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 0}, "are too few"),
        ({"ridge": 0.0}, "more than 0"),
        ({"ridge": float("nan")}, "more than 0"),
    ],
)
def test_options_that_cannot_work(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        PaDiM(**options)


def test_a_ridge_that_is_lost_in_rounding() -> None:
    with pytest.raises(OptionError, match="too small"):
        PaDiM(**TINY | {"ridge": 1e-300}).fit(batches(GOOD))


def test_nothing_to_fit() -> None:
    with pytest.raises(DatasetError, match="no image could be used"):
        PaDiM(**TINY).fit(batches([np.zeros((1, 1, 3), np.uint8)]))


def test_unfitted_refuses() -> None:
    for ask in (PaDiM(**TINY).head, PaDiM(**TINY).fitted_state):
        with pytest.raises(NotFitted, match="call fit"):
            ask()


def test_batches_are_all_it_takes() -> None:
    method = PaDiM(**TINY).fit([Batch(images(GOOD), [""] * len(GOOD))])
    assert torch.isfinite(method.score(images(NEW)).image).all()


def test_a_defect_outscores_good_parts_and_the_map_peaks_on_it() -> None:
    size = Preprocessing(96, 128)
    method = PaDiM().fit(Batches([texture(seed, 96, 128) for seed in range(10)], size))
    new = [texture(seed, 96, 128) for seed in range(20, 24)]
    (batch,) = Batches([*new, with_defect(new[0], row=30, column=90, radius=8)], size, 5)
    scores = method.score(batch.images)
    assert scores.image[4] > scores.image[:4].max()
    row, column = divmod(int(scores.pixel[4].argmax()), 128)
    assert np.hypot(row - 30, column - 90) <= 8 + 4
