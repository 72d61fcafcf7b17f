from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flawmap.errors import OptionError
from flawmap.features.aggregation import ChannelAggregation

BLOCKS = (512, 512, 512)
VECTORS = torch.randn(400, 1536, generator=torch.Generator().manual_seed(0))


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
def test_every_channel_is_used_once(grouping: Any, remainder: Any) -> None:
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
    first, second = VECTORS[:10], VECTORS[10:20]
    assert torch.allclose(
        reduction(2 * first - second), 2 * reduction(first) - reduction(second), atol=1e-5
    )


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
    reduction = ChannelAggregation(aggregate="orthonormal").fit(VECTORS, BLOCKS, 0)
    matrix = reduction.get_buffer("matrix")
    assert torch.allclose(matrix.T @ matrix, torch.eye(153), atol=1e-6)


def test_ratio_one_is_a_permutation() -> None:
    reduced = ChannelAggregation(ratio=1).fit(VECTORS, BLOCKS, 0)(VECTORS)
    assert torch.equal(reduced.sort(dim=1).values, VECTORS.sort(dim=1).values)


@pytest.mark.parametrize(
    ("channels", "ratio", "min_channels", "expected"),
    [
        (152, 0.1, 1, 15),
        (152, 0.1, 76, 76),
        (1536, 0.1, 76, 153),
        (48, 0.1, 76, 48),
        (5, 0.1, 1, 1),
    ],
)
def test_there_are_at_least_so_many_groups(
    channels: int, ratio: float, min_channels: int, expected: int
) -> None:
    reducer = ChannelAggregation(ratio=ratio, min_channels=min_channels)
    groups = reducer.groups(channels, (channels,), seed=0)
    assert len(groups) == expected
    assert np.array_equal(np.sort(np.concatenate(groups)), np.arange(channels))
    module = reducer.fit(torch.zeros(1, channels), (channels,), seed=0)
    assert module(torch.ones(2, channels)).shape == (2, expected)


@given(
    channels=st.integers(1, 400),
    ratio=st.floats(0.01, 1),
    min_channels=st.integers(1, 500),
    grouping=st.sampled_from(["permuted", "contiguous", "random_cuts"]),
)
def test_the_groups_part_the_channels(
    channels: int, ratio: float, min_channels: int, grouping: Any
) -> None:
    reducer = ChannelAggregation(ratio, grouping, min_channels=min_channels)
    groups = reducer.groups(channels, (channels,), seed=0)
    assert np.array_equal(np.sort(np.concatenate(groups)), np.arange(channels))
    assert min(channels, min_channels) <= len(groups) <= channels
    assert min(map(len, groups)) >= 1


def test_no_channel_at_all_is_refused() -> None:
    with pytest.raises(OptionError, match="min_channels=0; use 1 or more"):
        ChannelAggregation(min_channels=0)


@pytest.mark.parametrize("ratio", [0, -0.1, 1.1])
def test_bad_ratios(ratio: float) -> None:
    with pytest.raises(OptionError, match="is not a fraction"):
        ChannelAggregation(ratio=ratio)
