"""PatchCore and improved PatchCore against naive float64 implementations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist

from flawmap.engine.batches import Batches
from flawmap.errors import DatasetError, OptionError
from flawmap.features.aggregation import ChannelAggregation
from flawmap.features.backbone import Backbone
from flawmap.features.partial_attention import PartialSelfAttention
from flawmap.features.reducers import (
    PCA,
    GaussianRandomProjection,
    NoReduction,
    SparseRandomProjection,
)
from flawmap.features.reduction import Reducer
from flawmap.memory.bank import Bank, Reweighted
from flawmap.methods.improved_patchcore import improved_patchcore
from flawmap.methods.patchcore import PatchCore
from flawmap.methods.sa_patchcore import sa_patchcore
from flawmap.runtime.preprocess import Preprocessing
from helpers import texture

SIZE = Preprocessing(64, 96)
GOOD = [texture(seed, 64, 96) for seed in range(5)]
NEW = texture(50, 64, 96)
Treat = Callable[[np.ndarray], np.ndarray]
Align = Callable[[np.ndarray, int, int], np.ndarray]
TINY: dict[str, Any] = {"backbone": "test_resnet", "weights": "random", "coreset": 0.1}


def images(arrays: list[np.ndarray]) -> torch.Tensor:
    (batch,) = Batches(arrays, SIZE, len(arrays))
    return batch.images


def bank_of(method: PatchCore) -> Bank:
    assert method.bank_ is not None
    return method.bank_


def window_mean(maps: np.ndarray) -> np.ndarray:
    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)))
    height, width = maps.shape[1:]
    windows = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return np.asarray(np.mean(windows, axis=0))


def window_max(maps: np.ndarray) -> np.ndarray:
    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    height, width = maps.shape[1:]
    windows = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return np.asarray(np.max(windows, axis=0))


def attend(maps: np.ndarray) -> np.ndarray:
    tokens = maps.reshape(len(maps), -1).T
    products = tokens @ tokens.T / np.sqrt(tokens.shape[1])
    weights = np.exp(products - products.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    return np.asarray((weights @ tokens).T.reshape(maps.shape))


def stretch(maps: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear with half-pixel centres, value by value."""
    out = np.empty((len(maps), height, width))
    for row in range(height):
        for column in range(width):
            y = np.clip((row + 0.5) * maps.shape[1] / height - 0.5, 0, maps.shape[1] - 1)
            x = np.clip((column + 0.5) * maps.shape[2] / width - 0.5, 0, maps.shape[2] - 1)
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, maps.shape[1] - 1), min(x0 + 1, maps.shape[2] - 1)
            top = maps[:, y0, x0] * (1 - x + x0) + maps[:, y0, x1] * (x - x0)
            bottom = maps[:, y1, x0] * (1 - x + x0) + maps[:, y1, x1] * (x - x0)
            out[:, row, column] = top * (1 - y + y0) + bottom * (y - y0)
    return out


def attend_alone(maps: np.ndarray) -> np.ndarray:
    """Each channel by itself, position by position, unscaled."""
    out = np.empty_like(maps)
    for channel, values in enumerate(maps.reshape(len(maps), -1)):
        for position, value in enumerate(values):
            weights = np.exp(value * values - (value * values).max())
            out[channel].flat[position] = (weights * values).sum() / weights.sum()
    return out


def repeat(maps: np.ndarray, height: int, width: int) -> np.ndarray:
    return maps.repeat(height // maps.shape[1], axis=1).repeat(width // maps.shape[2], axis=2)


def half_attention(maps: np.ndarray) -> np.ndarray:
    half = len(maps) // 2
    return np.concatenate([attend(window_max(maps[:half])), window_mean(maps[half:])])


def naive_vectors(method: PatchCore, image: np.ndarray, treat: Treat, align: Align) -> np.ndarray:
    fine, deep = (maps[0].double().numpy() for maps in method.feature_extractor(images([image])))
    joined = np.concatenate([window_mean(fine), align(treat(deep), *fine.shape[1:])])
    vectors = joined.reshape(len(joined), -1).T
    if not isinstance(method.reducer, ChannelAggregation):
        return vectors
    groups = method.reducer.groups(240, (48, 96, 96), 0)
    return np.stack([vectors[:, group].mean(axis=1) for group in groups], axis=1)


@pytest.mark.parametrize(
    ("make", "treat", "align"),
    [
        (PatchCore, window_mean, stretch),
        (improved_patchcore, half_attention, stretch),
        (sa_patchcore, lambda maps: attend_alone(window_max(maps)), repeat),
    ],
    ids=["patchcore", "improved", "sa"],
)
def test_agrees_with_its_naive_twin(
    make: Callable[..., PatchCore], treat: Treat, align: Align
) -> None:
    parts = {} if make is improved_patchcore else {"reducer": NoReduction()}
    method = make(**TINY | {"coreset": 1.0} | parts)
    method.fit(Batches(GOOD, SIZE))
    bank = np.concatenate([naive_vectors(method, image, treat, align) for image in GOOD])
    distances = cdist(naive_vectors(method, NEW, treat, align), bank).min(axis=1).reshape(1, 8, 12)
    scores = method.score(images([NEW]))
    assert float(scores.image[0]) == pytest.approx(distances.max(), rel=1e-5)
    expected = gaussian_filter(stretch(distances, 64, 96)[0], 4)
    assert np.allclose(scores.pixel[0], expected, rtol=1e-5, atol=1e-6)


def test_the_bank_is_the_greedy_coreset_and_knows_its_images() -> None:
    method = PatchCore(**TINY, reducer=NoReduction())
    part = method.extract(Batches(GOOD, SIZE))
    method.fit_shards([part])
    bank = bank_of(method)
    assert len(bank.vectors) == int(5 * 8 * 12 * 0.1)
    vectors = part["grid"].flatten(0, 2)
    rows = [int((vectors == vector).all(dim=1).nonzero()[0]) for vector in bank.vectors]
    assert rows == sorted(rows)
    assert bank.image_ids.tolist() == [row // 96 for row in rows]


@pytest.mark.parametrize(("max_rows", "rows"), [(7, 7), (48, 48), (1000, 48), (None, 48)])
def test_the_bank_has_at_most_so_many_rows(max_rows: int | None, rows: int) -> None:
    method = PatchCore(**TINY, max_rows=max_rows)
    method.fit(Batches(GOOD, SIZE))
    assert len(bank_of(method).vectors) == rows
    with pytest.raises(OptionError, match="max_rows"):
        PatchCore(max_rows=0)


@pytest.mark.parametrize("reducer", [NoReduction(), PCA()], ids=repr)
def test_half_precision_takes_half_the_memory_and_scores_alike(reducer: Reducer) -> None:
    options: dict[str, Any] = TINY | {"coreset": 1.0, "reducer": reducer, "reducer_scope": "bank"}
    single = PatchCore(**options)
    half = PatchCore(**options, vector_precision="f16")
    shard = half.extract(Batches(GOOD, SIZE))
    assert shard["grid"].dtype == torch.float16
    expected = single.cross_fit_scores(Batches(GOOD, SIZE))
    held_out = half.cross_fit_scores(Batches(GOOD, SIZE))
    assert torch.allclose(held_out.image, expected.image, rtol=0.02)
    assert bank_of(half).vectors.dtype == torch.float32
    scores = half.score(images([NEW])).image
    assert torch.allclose(scores, single.score(images([NEW])).image, rtol=0.02)


def test_scaling_by_place_is_saved_and_scores_held_out_images_alike() -> None:
    method = PatchCore(**TINY, place_scaling=True)
    held_out = method.cross_fit_scores(Batches(GOOD, SIZE))
    scores = method.score(images([NEW]))
    again = PatchCore.from_options(method.options()).load_state_dict(method.state_dict())
    assert torch.equal(again.score(images([NEW])).pixel, scores.pixel)
    assert method.places_ is not None
    plain = PatchCore(**TINY)
    plain.cross_fit_scores(Batches(GOOD, SIZE))
    compared = plain.head().compare(plain.encoder()(images([NEW]))).distances[0]
    assert scores.image[0] == pytest.approx(float(method.places_(compared).max()), rel=1e-5)
    # In units of the spread at a place, good images are some spreads from the mean at most.
    assert 0 < held_out.image.min() <= held_out.image.max() < 20


def test_numbers_too_large_for_half_precision_are_refused() -> None:
    method = PatchCore(**TINY, vector_precision="f16")
    weights = dict(method.feature_extractor.weights())
    last = next(name for name in reversed(weights) if name.endswith(".weight"))
    weights[last] = weights[last] * 1e9
    method.feature_extractor = Backbone("test_resnet", (2, 3), weights)
    with pytest.raises(OptionError, match="vector_precision=f32"):
        method.fit(Batches(GOOD, SIZE))


def test_scope_coreset_keeps_full_vectors_and_scope_bank_reduced_ones() -> None:
    full = PatchCore(**TINY, reducer=GaussianRandomProjection(20))
    full.fit(Batches(GOOD, SIZE))
    reduced = PatchCore(**TINY, reducer=GaussianRandomProjection(20), reducer_scope="bank")
    reduced.fit(Batches(GOOD, SIZE))
    assert bank_of(full).vectors.shape[1] == 240
    assert bank_of(reduced).vectors.shape[1] == 20


@pytest.mark.parametrize("scope", ["bank", "coreset"])
@pytest.mark.parametrize(
    "reducer",
    [
        NoReduction(),
        PCA(),
        SparseRandomProjection(30),
        GaussianRandomProjection(30),
        ChannelAggregation(aggregate="max"),
    ],
    ids=repr,
)
def test_every_reduction_fits_scores_and_comes_back(scope: Any, reducer: Reducer) -> None:
    method = PatchCore(**TINY, reducer=reducer, reducer_scope=scope)
    held_out = method.cross_fit_scores(Batches(GOOD, SIZE))
    scores = method.score(images([NEW]))
    again = PatchCore.from_options(method.options()).load_state_dict(method.state_dict())
    assert torch.equal(again.score(images([NEW])).pixel, scores.pixel)
    # Good images are about as anomalous to a bank without them as a new one is.
    assert held_out.image.min() / 3 < scores.image[0] < held_out.image.max() * 3


def test_the_only_image_in_the_bank_is_scored_by_a_bank_of_the_others() -> None:
    method = PatchCore(**TINY)
    # Of two equal vectors the first is taken, so the second image gives none.
    held_out = method.cross_fit_scores(Batches([GOOD[0], GOOD[0]], SIZE))
    assert set(bank_of(method).image_ids.tolist()) == {0}
    by_the_other = PatchCore(**TINY).fit(Batches([GOOD[0]], SIZE)).score(images([GOOD[0]])).image[0]
    assert torch.allclose(held_out.image, by_the_other, rtol=0.5)


def test_images_of_one_group_are_left_out_together() -> None:
    # Each image has a twin; only without the twin is it new.
    twins = [image for image in GOOD for _ in range(2)]
    options: dict[str, Any] = TINY | {"coreset": 1.0}
    alone = PatchCore(**options).cross_fit_scores(Batches(twins, SIZE))
    groups = [str(number // 2) for number in range(len(twins))]
    together = PatchCore(**options).cross_fit_scores(Batches(twins, SIZE, groups=groups))
    assert alone.image.max() < 1e-3 * together.image.min()
    expected = PatchCore(**options).cross_fit_scores(Batches(GOOD, SIZE))
    assert torch.allclose(together.image[::2], expected.image, rtol=1e-4)


def test_the_reweighted_score_is_smaller() -> None:
    plain = PatchCore(**TINY).fit(Batches(GOOD, SIZE)).score(images([NEW]))
    weighed = (
        PatchCore(**TINY, image_score=Reweighted()).fit(Batches(GOOD, SIZE)).score(images([NEW]))
    )
    assert 0 < weighed.image[0] < plain.image[0]
    assert torch.allclose(weighed.pixel, plain.pixel)


def test_the_improved_one_is_the_papers() -> None:
    method = improved_patchcore()
    assert method.context == PartialSelfAttention(
        ratio=0.5, channel_choice="first", attend="tokens"
    )
    assert method.reducer == ChannelAggregation(ratio=0.1, grouping="permuted", aggregate="mean")
    assert (method.reducer_scope, method.coreset, method.layers) == ("bank", 0.01, (2, 3))


def test_ratio_zero_without_reduction_is_patchcore() -> None:
    plain = PatchCore(**TINY, reducer=NoReduction()).fit(Batches(GOOD, SIZE)).score(images([NEW]))
    options = {"context": PartialSelfAttention(ratio=0), "reducer": NoReduction()}
    same = improved_patchcore(**TINY, **options).fit(Batches(GOOD, SIZE)).score(images([NEW]))
    assert torch.equal(plain.pixel, same.pixel)


@pytest.mark.parametrize("fraction", [0, -1, 1.5])
def test_a_coreset_that_is_no_fraction(fraction: float) -> None:
    with pytest.raises(OptionError, match="is no fraction"):
        PatchCore(coreset=fraction)


def test_nothing_to_fit() -> None:
    with pytest.raises(DatasetError, match="no image could be used"):
        PatchCore(**TINY).fit(Batches([np.zeros((1, 1, 3), np.uint8)], SIZE))
