from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

from flawmap.errors import OptionError
from flawmap.features.reducers import (
    PCA,
    ChannelAggregation,
    GaussianRandomProjection,
    NoReduction,
    SparseRandomProjection,
    UniformRandomProjection,
)

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


def test_contiguous_groups_golden() -> None:
    reduction = ChannelAggregation(ratio=0.3, grouping="contiguous").fit(
        torch.zeros(1, 10), (10,), 0
    )
    assert torch.allclose(reduction(torch.arange(10.0)), torch.tensor([1.5, 5, 8]))


@pytest.mark.parametrize(
    ("channels", "sizes"),
    [(1536, {11: 6, 10: 147}), (1024, {11: 4, 10: 98}), (384, {11: 4, 10: 34})],
)
def test_group_sizes_golden(channels: int, sizes: dict[int, int]) -> None:
    lengths = [len(group) for group in ChannelAggregation().groups(channels, (channels,), 0)]
    assert {size: lengths.count(size) for size in set(lengths)} == sizes


def test_adaptive_windows_golden() -> None:
    groups = ChannelAggregation(grouping="contiguous", remainder="adaptive").groups(
        1536, (1536,), 0
    )
    lengths = [len(group) for group in groups]
    assert {size: lengths.count(size) for size in set(lengths)} == {11: 150, 12: 3}
    assert np.count_nonzero(np.bincount(np.concatenate(groups)) == 2) == 150
    pooled = torch.nn.functional.adaptive_avg_pool1d(VECTORS[None], 153)[0]
    reduction = ChannelAggregation(grouping="contiguous", remainder="adaptive").fit(
        VECTORS, BLOCKS, 0
    )
    assert torch.allclose(reduction(VECTORS), pooled, atol=1e-5)


@pytest.mark.parametrize(
    "grouping", ["permuted", "contiguous", "permuted_within_layer", "random_cuts"]
)
@pytest.mark.parametrize("remainder", ["spread", "last", "extra"])
def test_every_channel_is_used_once(grouping: str, remainder: str) -> None:
    groups = ChannelAggregation(grouping=grouping, remainder=remainder).groups(1536, BLOCKS, 3)
    assert np.array_equal(np.sort(np.concatenate(groups)), np.arange(1536))
    extra = remainder == "extra" and grouping != "random_cuts"
    assert len(groups) == 153 + extra


def test_drop_leaves_the_rest_out() -> None:
    groups = ChannelAggregation(remainder="drop").groups(1536, BLOCKS, 0)
    assert {len(group) for group in groups} == {10}
    assert len(groups) == 153


def test_perm_within_mixes_no_sources() -> None:
    groups = ChannelAggregation(grouping="permuted_within_layer", ratio=1 / 512).groups(
        1536, BLOCKS, 0
    )
    assert [sorted(group) for group in groups] == [
        list(range(start, start + 512)) for start in (0, 512, 1024)
    ]


def test_the_mean_keeps_a_constant_and_is_linear() -> None:
    reduction = ChannelAggregation().fit(VECTORS, BLOCKS, 0)
    assert torch.allclose(reduction(torch.full((1, 1536), 3.0)), torch.tensor(3.0), atol=1e-5)
    one, two = VECTORS[:10], VECTORS[10:20]
    assert torch.allclose(reduction(2 * one - two), 2 * reduction(one) - reduction(two), atol=1e-5)


def test_aggregates_agree_on_the_groups() -> None:
    groups = ChannelAggregation().groups(1536, BLOCKS, 0)
    size = torch.tensor([float(len(group)) for group in groups])
    mean, total, orthonormal, largest = (
        ChannelAggregation(aggregate=aggregate).fit(VECTORS, BLOCKS, 0)(VECTORS)
        for aggregate in ("mean", "sum", "orthonormal", "max")
    )
    assert torch.allclose(total, mean * size, atol=1e-4)
    assert torch.allclose(orthonormal, mean * size.sqrt(), atol=1e-4)
    expected = torch.stack([VECTORS[:, group].amax(dim=1) for group in groups], dim=1)
    assert torch.equal(largest, expected)


def test_orthonormal_groups_project() -> None:
    matrix = ChannelAggregation(aggregate="orthonormal").fit(VECTORS, BLOCKS, 0).matrix
    assert torch.allclose(matrix.T @ matrix, torch.eye(153), atol=1e-6)


def test_ratio_one_is_a_permutation() -> None:
    reduced = ChannelAggregation(ratio=1).fit(VECTORS, BLOCKS, 0)(VECTORS)
    assert torch.equal(reduced.sort(dim=1).values, VECTORS.sort(dim=1).values)


@pytest.mark.parametrize(
    ("count", "channels", "dim"), [(78_400, 1536, 278), (163_856, 1536, 296), (470_400, 1536, 322)]
)
def test_sparse_dimensions_golden(count: int, channels: int, dim: int) -> None:
    vectors = torch.zeros(1, channels).expand(count, channels)
    assert SparseRandomProjection().fit(vectors, (channels,), 0)(
        torch.zeros(1, channels)
    ).shape == (1, dim)


def test_sparse_projection_is_sparse_as_published() -> None:
    matrix = SparseRandomProjection(dim=300).fit(VECTORS, BLOCKS, 0).matrix
    density = 1536**-0.5
    assert abs((matrix != 0).float().mean() - density) < 0.002
    assert torch.allclose(matrix[matrix != 0].abs(), torch.tensor((1536**0.5 / 300) ** 0.5))


def test_no_sparse_projection_where_it_saves_little() -> None:
    vectors = torch.rand(596_624, 1).expand(-1, 152)
    assert torch.equal(SparseRandomProjection().fit(vectors, (152,), 0)(vectors[:3]), vectors[:3])


@pytest.mark.parametrize(
    "reducer", [SparseRandomProjection(dim=300), GaussianRandomProjection(300)]
)
def test_random_projections_nearly_keep_distances(reducer) -> None:
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
def test_drawn_from_the_seed_and_restored_bit_for_bit(reducer) -> None:
    vectors = VECTORS[:, :300]
    first, second = reducer.fit(vectors, (300,), 5), reducer.fit(vectors, (300,), 5)
    restored = reducer.load({name: tensor.clone() for name, tensor in first.state_dict().items()})
    assert torch.equal(first(vectors), second(vectors))
    assert torch.equal(first(vectors), restored(vectors))


@pytest.mark.parametrize("reducer", ALL[1:-1], ids=repr)
def test_another_seed_draws_another_reduction(reducer) -> None:
    assert not torch.equal(
        reducer.fit(VECTORS, BLOCKS, 5)(VECTORS), reducer.fit(VECTORS, BLOCKS, 6)(VECTORS)
    )


@pytest.mark.parametrize("ratio", [0, -0.1, 1.1])
def test_bad_ratios(ratio: float) -> None:
    with pytest.raises(OptionError, match="is not a fraction"):
        ChannelAggregation(ratio=ratio)
