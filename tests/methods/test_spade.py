"""SPADE against a second, deliberately naive implementation in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist

from flawmap.engine.batches import Batch, Batches
from flawmap.errors import DatasetError, NotFitted, OptionError
from flawmap.methods.spade import SPADE
from flawmap.runtime.preprocess import Preprocessing
from flawmap.support.progress import listen
from helpers import texture, with_defect

SIZE = Preprocessing(64, 96)
GOOD = [texture(seed, 64, 96) for seed in range(6)]
NEW = [texture(seed, 64, 96) for seed in range(50, 54)]
TINY: dict[str, Any] = {"backbone": "test_resnet", "weights": "random", "neighbours": 2}


def batches(images: list[np.ndarray], size: int = 4, **options: Any) -> Batches:
    return Batches(images, SIZE, size, **options)


def images(arrays: list[np.ndarray]) -> torch.Tensor:
    (batch,) = batches(arrays, len(arrays))
    return batch.images


def fit(**options: Any) -> SPADE:
    method = SPADE(**TINY | options)
    method.fit(batches(GOOD))
    return method


@pytest.fixture
def fitted() -> SPADE:
    return fit()


def stretch(values: np.ndarray, length: int) -> np.ndarray:
    """Linear with half-pixel centres, along the first axis."""
    centres = (np.arange(length) + 0.5) * len(values) / length - 0.5
    return np.stack([np.interp(centres, np.arange(len(values)), line) for line in values.T], axis=1)


def naive(method: SPADE, good: list[np.ndarray], image: np.ndarray) -> tuple[float, np.ndarray]:
    def layer_maps(array: np.ndarray) -> list[np.ndarray]:
        return [maps[0].double().numpy() for maps in method.feature_extractor(images([array]))]

    good_maps, own_maps = [layer_maps(array) for array in good], layer_maps(image)
    distances = np.array(
        [
            np.linalg.norm(maps[-1].mean(axis=(1, 2)) - own_maps[-1].mean(axis=(1, 2)))
            for maps in good_maps
        ]
    )
    nearest = distances.argsort()[: method.neighbours]
    total = np.zeros((64, 96))
    for layer, maps in enumerate(own_maps):
        references = np.concatenate(
            [good_maps[number][layer].reshape(len(maps), -1).T for number in nearest]
        )
        map_distances = (
            cdist(maps.reshape(len(maps), -1).T, references).min(axis=1).reshape(maps.shape[1:])
        )
        total += stretch(stretch(map_distances, 64).T, 96).T
    return distances[nearest].mean(), gaussian_filter(total / len(own_maps), method.sigma)


@pytest.mark.parametrize(
    "options", [{}, {"neighbours": 50}, {"layers": (2, 3), "sigma": 2.0}], ids=repr
)
def test_agrees_with_its_naive_twin(options: dict[str, Any]) -> None:
    method = fit(**options)
    scores = method.score(images(NEW))
    for index, image in enumerate(NEW):
        score, pixel = naive(method, GOOD, image)
        assert float(scores.image[index]) == pytest.approx(score, rel=1e-5)
        assert np.allclose(scores.pixel[index], pixel, rtol=1e-5, atol=0)


def test_only_the_most_alike_are_compared_with(fitted: SPADE) -> None:
    # An image of another sort is never among the two, so it changes nothing.
    more = SPADE(**TINY).fit(batches([*GOOD, 255 - GOOD[0]]))
    assert torch.equal(more.score(images(NEW)).pixel, fitted.score(images(NEW)).pixel)
    everyone = SPADE(**TINY | {"neighbours": 7}).fit(batches([*GOOD, 255 - GOOD[0]]))
    assert (everyone.score(images(NEW)).image > fitted.score(images(NEW)).image).all()
    assert (everyone.score(images(NEW)).pixel <= fitted.score(images(NEW)).pixel + 1e-6).all()


def test_shards_add_up(fitted: SPADE) -> None:
    parts = [SPADE(**TINY).extract(batches(arrays)) for arrays in (GOOD[:4], GOOD[4:])]
    first, second = fitted.state_dict(), SPADE(**TINY).fit_shards(parts).state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("sizes", [(1, 5), (4, 2), (2, 2, 2)], ids=repr)
def test_however_the_images_come_all_are_kept_in_order(sizes: tuple[int, ...]) -> None:
    chunks = images(GOOD).split(list(sizes))
    # An iterator does not say how many will come.
    part = SPADE(**TINY).extract(Batch(chunk, [""] * len(chunk)) for chunk in chunks)
    at_once = SPADE(**TINY).extract(batches(GOOD))
    assert part.keys() == at_once.keys() == {"layer1", "layer2", "layer3", "size"}
    # The network rounds differently in other batches.
    assert all(torch.allclose(part[key], at_once[key], rtol=1e-4, atol=1e-5) for key in at_once)


def test_a_restored_method_scores_the_same_bit_for_bit(fitted: SPADE) -> None:
    state = {key: tensor.clone() for key, tensor in fitted.state_dict().items()}
    assert all(tensor.is_contiguous() for tensor in fitted.fitted_state().values())
    restored = SPADE.from_options(fitted.options()).load_state_dict(state)
    for first, second in zip(fitted.score(images(NEW)), restored.score(images(NEW)), strict=True):
        assert torch.equal(first, second)


def test_a_batch_is_its_images_one_by_one(fitted: SPADE) -> None:
    together, alone = fitted.score(images(NEW)), [fitted.score(images([image])) for image in NEW]
    assert torch.allclose(together.image, torch.cat([score.image for score in alone]), rtol=1e-4)
    assert torch.allclose(together.pixel, torch.cat([score.pixel for score in alone]), rtol=1e-4)


@pytest.mark.parametrize("count", [2, 50])
def test_held_out_scores_are_those_of_a_method_that_never_saw_the_image(count: int) -> None:
    options: dict[str, Any] = TINY | {"neighbours": count}
    steps = []
    with listen(lambda stage, done, total: steps.append((stage, done, total))):
        held_out = SPADE(**options).cross_fit_scores(batches(GOOD))
    assert ("scoring good images", 6, 6) in steps
    # Each image was read once.
    assert steps.count(("reading images", 6, 6)) == 1
    for left_out, image in enumerate(GOOD):
        others = SPADE(**options).fit(batches(GOOD[:left_out] + GOOD[left_out + 1 :]))
        score = others.score(images([image]))
        assert held_out.image[left_out] == pytest.approx(float(score.image[0]), rel=1e-4)
        assert held_out.peak[left_out] == pytest.approx(float(score.pixel.max()), rel=1e-4)


def test_cross_fitting_leaves_the_state_of_fit(fitted: SPADE) -> None:
    method = SPADE(**TINY)
    method.cross_fit_scores(batches(GOOD))
    first, second = fitted.state_dict(), method.state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_images_of_one_group_are_left_out_together() -> None:
    # Each image has a twin; only without the twin is it new.
    twins = [image for image in GOOD for _ in range(2)]
    options = TINY | {"neighbours": 1}
    alone = SPADE(**options).cross_fit_scores(batches(twins))
    together = SPADE(**options).cross_fit_scores(
        batches(twins, groups=[str(index // 2) for index in range(len(twins))])
    )
    assert alone.image.max() < 1e-3 * together.image.min()
    assert alone.peak.max() < 1e-3 * together.peak.min()
    expected = SPADE(**options).cross_fit_scores(batches(GOOD))
    assert torch.allclose(together.image[::2], expected.image, rtol=1e-4)
    assert torch.allclose(together.peak[1::2], expected.peak, rtol=1e-4)


def test_a_defect_outscores_good_parts_and_the_map_peaks_on_it() -> None:
    size = Preprocessing(96, 128)
    good, new = ([texture(seed, 96, 128) for seed in seeds] for seeds in (range(10), range(20, 24)))
    method = SPADE().fit(Batches(good, size))
    (batch,) = Batches([*new, with_defect(new[0], row=30, column=90, radius=8)], size, 5)
    scores = method.score(batch.images)
    assert scores.image[4] > scores.image[:4].max()
    row, column = divmod(int(scores.pixel[4].argmax()), 128)
    assert np.hypot(row - 30, column - 90) <= 8 + 8


def test_the_order_of_layers_means_nothing(fitted: SPADE) -> None:
    other = SPADE(**TINY, layers=(3, 1, 2)).fit(batches(GOOD))
    assert other.options() == fitted.options()
    assert torch.equal(other.score(images(NEW)).pixel, fitted.score(images(NEW)).pixel)


def test_options_that_cannot_work() -> None:
    with pytest.raises(OptionError, match="0 neighbours are too few"):
        SPADE(neighbours=0)


def test_too_few_images_to_fit() -> None:
    with pytest.raises(DatasetError, match="no image could be used"):
        SPADE(**TINY).fit(batches([np.zeros((1, 1, 3), np.uint8)]))
    with pytest.raises(DatasetError, match="none to compare it with"):
        SPADE(**TINY).cross_fit_scores(batches(GOOD[:1]))


def test_unfitted_refuses() -> None:
    for ask in (SPADE(**TINY).head, SPADE(**TINY).fitted_state):
        with pytest.raises(NotFitted, match="call fit"):
            ask()
