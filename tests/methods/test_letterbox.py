"""Letterboxed images: what is padding is neither fitted nor scored, on any way to a score."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from flawmap import Inspector, load
from flawmap.engine.batches import Batches
from flawmap.engine.convert import export_programs
from flawmap.errors import OptionError
from flawmap.features.context import Gated
from flawmap.features.partial_attention import PartialSelfAttention
from flawmap.features.reducers import PCA
from flawmap.features.registration import SpatialTransformerRegistration
from flawmap.memory.bank import ImageScore, Maximum, Reweighted, TopShare
from flawmap.methods.input_size import make_preprocessing
from flawmap.methods.patchcore import PatchCore
from helpers import TINY, texture, with_defect

HEIGHT, WIDTH = 96, 128
GOOD = [
    texture(seed, *size)
    for seed, size in enumerate([(96, 128), (64, 128), (96, 64), (90, 125)] * 3)
]
NEW = [texture(30, 96, 128), texture(31, 64, 128), texture(32, 96, 64), texture(33, 200, 100)]
SCORES: list[ImageScore] = [Maximum(), TopShare(0.05), Reweighted()]


def make(**options: Any) -> PatchCore:
    return PatchCore(**{**TINY, "letterbox": True, **options})


def batches(images: Sequence[np.ndarray], size: int = 4, **options: Any) -> Batches:
    return Batches(list(images), make_preprocessing(make(**options), HEIGHT, WIDTH), size)


def tensor(arrays: Sequence[np.ndarray]) -> torch.Tensor:
    (batch,) = batches(arrays, len(arrays))
    return batch.images


@cache
def fit_once(image_score: ImageScore) -> PatchCore:
    method = make(image_score=image_score)
    method.fit(batches(GOOD))
    return method


@pytest.fixture(params=SCORES, ids=lambda score: type(score).__name__)
def fitted(request: pytest.FixtureRequest) -> PatchCore:
    return fit_once(request.param)


def test_the_bank_holds_no_padding_and_its_share_is_that_of_the_image() -> None:
    method = make(coreset=0.25)
    shard = method.extract(batches(GOOD))
    inside = shard["inside"].flatten() > 0
    # 12 × 16 patches of the whole input; two of the four sizes fill it (one is 4 % off).
    assert shard["inside"].sum(dim=1).tolist() == [192, 128, 96, 192] * 3
    bank = method.fit_shards([shard])._bank()
    assert len(bank) == int(0.25 * inside.sum())
    padding = shard["grid"].flatten(0, 2)[~inside]
    assert torch.cdist(bank.vectors.double(), padding.double()).min() > 1e-3


@pytest.mark.parametrize("reducer_scope", ["coreset", "bank"])
def test_a_reduction_is_fitted_to_no_padding(reducer_scope: Any) -> None:
    options: dict[str, Any] = {"reducer": PCA(ratio=0.1), "reducer_scope": reducer_scope}
    method = make(**options)
    shard = method.extract(batches(GOOD))
    shard["grid"].flatten(0, 2)[shard["inside"].flatten() == 0] = 1e4
    spoilt = make(**options).fit_shards([shard]).fitted_state()
    clean = make(**options).fit(batches(GOOD)).fitted_state()
    assert all(torch.equal(spoilt[name], clean[name]) for name in clean)


def test_shards_add_up() -> None:
    shards = [make().extract(batches(images)) for images in (GOOD[:5], GOOD[5:])]
    first = make().fit_shards(shards).state_dict()
    second = make().fit(batches(GOOD)).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in second)


def test_a_batch_is_its_images_one_by_one(fitted: PatchCore) -> None:
    together = fitted.score(tensor(NEW))
    for index, image in enumerate(NEW):
        alone = fitted.score(tensor([image]))
        assert torch.allclose(together.image[index], alone.image[0], rtol=1e-4)
        assert torch.allclose(together.pixel[index], alone.pixel[0], rtol=1e-4, atol=1e-5)


def test_padding_is_zero_in_the_map_and_moves_no_score(fitted: PatchCore) -> None:
    """A letterboxed image scores as in an input of its own shape, but for the network's border."""
    padded = fitted.score(tensor([NEW[1]]))
    own_shape = Batches([NEW[1]], make_preprocessing(fitted, 64, 128))
    (batch,) = own_shape
    alone = fitted.score(batch.images)
    assert padded.image[0] == pytest.approx(float(alone.image[0]), rel=0.1)
    assert (padded.pixel[0, 64:] == 0).all()
    difference = (padded.pixel[0, :64] - alone.pixel[0]).abs()
    # Beyond the border the network sees its own answer to nothing, and not zeros.
    assert difference[:32].max() < 0.1 * alone.pixel.max()
    assert difference.mean() < 0.05 * alone.pixel.max()


def test_the_maps_edge_is_not_darkened_by_the_padding() -> None:
    method = fit_once(Maximum())
    head = method.head()
    embedded = method.encoder()(tensor([NEW[1]]))
    compared = head.compare(embedded)
    constant = compared._replace(distances=(torch.ones_like(compared.distances[0]),))
    maps = head.anomaly_map(embedded, constant, HEIGHT, WIDTH)
    assert torch.allclose(maps[0, :64], torch.tensor(1.0))
    assert (maps[0, 64:] == 0).all()


def test_the_graph_agrees_on_any_number_of_images(fitted: PatchCore) -> None:
    programs = export_programs(fitted.encoder(), fitted.exportable_head(), HEIGHT, WIDTH)
    look, compare = programs.encoder.module(), programs.head.module()
    for arrays in (NEW, NEW[1:2]):
        image, pixel = compare(*look(tensor(arrays)))
        scores = fitted.score(tensor(arrays))
        assert torch.allclose(image, scores.image, rtol=1e-5)
        assert torch.allclose(pixel, scores.pixel, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("image_score", SCORES, ids=lambda score: type(score).__name__)
def test_held_out_scores_are_those_of_a_bank_without_the_image(image_score: ImageScore) -> None:
    options: dict[str, Any] = {"coreset": 1.0, "image_score": image_score}
    held_out = make(**options).cross_fit_scores(batches(GOOD))
    for left_out in (1, 6):
        others = make(**options).fit(batches(GOOD[:left_out] + GOOD[left_out + 1 :]))
        score = others.score(tensor([GOOD[left_out]]))
        assert held_out.image[left_out] == pytest.approx(float(score.image[0]), rel=1e-4)
        assert held_out.peak[left_out] == pytest.approx(float(score.pixel.max()), rel=1e-4)


@pytest.mark.parametrize("size", [(64, 128), (96, 64), (150, 60)])
def test_a_painted_defect_peaks_where_it_is_in_the_images_own_pixels(size: tuple[int, int]) -> None:
    inspector = Inspector(PatchCore(letterbox=True), size=(HEIGHT, WIDTH)).fit(GOOD)
    height, width = size
    row, column = height - 14, width - 20
    defective = with_defect(texture(40, height, width), row, column)
    verdict = inspector.inspect(defective)
    assert verdict.heatmap.shape == size
    assert verdict.score > inspector.inspect(texture(40, height, width)).score
    peak = np.unravel_index(verdict.heatmap.argmax(), size)
    # Within the disc, and a patch of 8 pixels of the input.
    one_patch = 8 * max(1, height / HEIGHT)
    assert np.hypot(peak[0] - row, peak[1] - column) <= 6 + one_patch
    region = verdict.regions()[0] if verdict.reject else None
    assert region is None or region.y + region.height <= height


def test_a_saved_inspector_scores_the_same_in_torch_and_by_its_graph(tmp_path: Path) -> None:
    inspector = Inspector(make(image_score=TopShare(0.05)), size=(HEIGHT, WIDTH)).fit(GOOD)
    inspector.save(tmp_path / "part.flawmap")
    again, runtime = Inspector.load(tmp_path / "part.flawmap"), load(tmp_path / "part.flawmap")
    assert runtime.preprocessing == again.preprocessing == inspector.preprocessing
    for image in NEW:
        first, second, third = (other.inspect(image) for other in (inspector, again, runtime))
        assert first.score == second.score
        assert np.array_equal(first.heatmap, second.heatmap)
        assert third.score == pytest.approx(first.score, rel=1e-4)
        assert np.allclose(third.heatmap, first.heatmap, rtol=1e-3, atol=1e-4)


def test_nothing_but_off_aspects_differs_from_stretching() -> None:
    """Where no image is letterboxed, letterboxing moves no bit."""
    same = GOOD[::4] + GOOD[3::4]
    letterboxed = make().fit(batches(same)).score(tensor(NEW[:1]))
    stretched = make(letterbox=False).fit(batches(same, letterbox=False)).score(tensor(NEW[:1]))
    assert torch.equal(letterboxed.image, stretched.image)
    assert torch.allclose(letterboxed.pixel, stretched.pixel, rtol=1e-5)


@pytest.mark.parametrize("context", [PartialSelfAttention(), Gated()])
def test_a_context_that_sees_the_full_map_is_refused(context: Any) -> None:
    with pytest.raises(OptionError, match="sees the full map, padding included; use context="):
        make(context=context)


def test_a_registration_is_refused() -> None:
    with pytest.raises(OptionError, match="would move padding into the image"):
        make(registration=SpatialTransformerRegistration())


def test_a_size_that_cuts_patches_is_rounded() -> None:
    preprocessing = Inspector(make(), size=(100, 130)).preprocessing
    assert (preprocessing.height, preprocessing.width, preprocessing.multiple) == (96, 128, 16)
    stretched = Inspector(make(letterbox=False), size=(100, 130)).preprocessing
    assert (stretched.height, stretched.width) == (100, 130)
