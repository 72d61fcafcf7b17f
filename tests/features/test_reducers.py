from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

from flawmap.engine.batches import Batch
from flawmap.features.aggregation import ChannelAggregation
from flawmap.features.reducers import (
    PCA,
    GaussianRandomProjection,
    NoReduction,
    SparseRandomProjection,
    UniformRandomProjection,
)
from flawmap.features.reduction import Reducer
from flawmap.methods.patchcore import PatchCore

BLOCKS = (512, 512, 512)
VECTORS = torch.randn(400, 1536, generator=torch.Generator().manual_seed(0))
ALL = [
    NoReduction(),
    ChannelAggregation(),
    ChannelAggregation(aggregate="max"),
    SparseRandomProjection(),
    GaussianRandomProjection(),
    UniformRandomProjection(),
    PCA(),
]


@pytest.mark.parametrize(
    ("count", "channels", "dim"), [(78_400, 1536, 278), (163_856, 1536, 296), (470_400, 1536, 322)]
)
def test_sparse_dimensions_golden(count: int, channels: int, dim: int) -> None:
    vectors = torch.zeros(1, channels).expand(count, channels)
    assert SparseRandomProjection().fit(vectors, (channels,), 0)(
        torch.zeros(1, channels)
    ).shape == (1, dim)


def test_sparse_projection_is_sparse_as_published() -> None:
    matrix = SparseRandomProjection(dim=300).fit(VECTORS, BLOCKS, 0).get_buffer("matrix")
    density = 1536**-0.5
    assert abs((matrix != 0).float().mean() - density) < 0.002
    assert torch.allclose(matrix[matrix != 0].abs(), torch.tensor((1536**0.5 / 300) ** 0.5))


def test_no_sparse_projection_where_it_saves_little() -> None:
    vectors = torch.rand(596_624, 1).expand(-1, 152)
    assert torch.equal(SparseRandomProjection().fit(vectors, (152,), 0)(vectors[:3]), vectors[:3])


@pytest.mark.parametrize(
    "reducer", [SparseRandomProjection(dim=300), GaussianRandomProjection(300)]
)
def test_random_projections_nearly_keep_distances(reducer: Reducer) -> None:
    before = pdist(VECTORS[:50].numpy())
    after = pdist(reducer.fit(VECTORS, BLOCKS, 0)(VECTORS[:50]).numpy())
    assert np.abs(after / before - 1).mean() < 0.06


def test_pca_finds_the_directions_of_most_variance() -> None:
    rng = torch.Generator().manual_seed(0)
    spread = torch.randn(500, 2, generator=rng) @ torch.tensor([[5.0, 0, 5, 0], [0, 3, 0, 0]]) + 7
    reduction = PCA(ratio=0.5).fit(spread + 0.01 * torch.randn(500, 4, generator=rng), (4,), 0)
    reduced = reduction(spread)
    assert reduced.shape == (500, 2)
    assert torch.allclose(reduced.mean(dim=0), torch.zeros(2), atol=1e-2)
    assert reduced[:, 0].var() > reduced[:, 1].var()
    assert np.allclose(pdist(reduced.numpy()), pdist(spread.numpy()), rtol=1e-2)


@pytest.mark.parametrize("reducer", ALL, ids=repr)
def test_drawn_from_the_seed_and_restored_bit_for_bit(reducer: Reducer) -> None:
    vectors = VECTORS[:, :300]
    first, second = reducer.fit(vectors, (300,), 5), reducer.fit(vectors, (300,), 5)
    restored = reducer.load({name: tensor.clone() for name, tensor in first.state_dict().items()})
    assert torch.equal(first(vectors), second(vectors))
    assert torch.equal(first(vectors), restored(vectors))


@pytest.mark.parametrize("reducer", ALL[1:-1], ids=repr)
def test_another_seed_draws_another_reduction(reducer: Reducer) -> None:
    assert not torch.equal(
        reducer.fit(VECTORS, BLOCKS, 5)(VECTORS), reducer.fit(VECTORS, BLOCKS, 6)(VECTORS)
    )


@dataclass(frozen=True)
class Halving(Reducer):
    """A reducer of a user's own, with a module of its own."""

    def fit(self, vectors: torch.Tensor, blocks: tuple[int, ...], seed: int) -> torch.nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            module = torch.nn.Linear(vectors.shape[-1], vectors.shape[-1] // 2)
        return module.requires_grad_(False)

    def load(self, state: dict[str, torch.Tensor]) -> torch.nn.Module:
        out_features, in_features = state["weight"].shape
        module = torch.nn.Linear(in_features, out_features).requires_grad_(False)
        module.load_state_dict(state)
        return module


def test_a_reducer_may_have_a_module_of_its_own() -> None:
    options: dict[str, Any] = {"backbone": "test_resnet", "weights": "random", "coreset": 0.1}
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    method = PatchCore(**options, reducer=Halving(), reducer_scope="bank")
    method.fit([Batch(images, ["a", "b"])])
    again = PatchCore(**options, reducer=Halving(), reducer_scope="bank")
    again.load_state_dict(method.state_dict())
    assert torch.equal(method.score(images).image, again.score(images).image)
