from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from flawmap.errors import OptionError
from flawmap.features.attention import cosine_attention, per_channel_attention, self_attention
from flawmap.features.context import (
    AttentionKind,
    Gated,
    Neighbourhood,
    PartialSelfAttention,
    PooledNeighbourhood,
)
from flawmap.features.pooling import average_pool, average_pool_3x3, max_pool_3x3

FEATURES = torch.rand(2, 8, 5, 6, generator=torch.Generator().manual_seed(0)) * 3


def test_ratio_zero_is_patchcore() -> None:
    assert torch.equal(
        PartialSelfAttention(ratio=0).on_deepest(FEATURES), Neighbourhood().on_deepest(FEATURES)
    )


def test_halves() -> None:
    first = PartialSelfAttention(channel_choice="first").on_deepest(FEATURES)
    assert torch.equal(first[:, :4], self_attention(max_pool_3x3(FEATURES[:, :4])))
    assert torch.equal(first[:, 4:], average_pool_3x3(FEATURES[:, 4:]))
    last = PartialSelfAttention(channel_choice="last").on_deepest(FEATURES)
    assert torch.equal(last[:, :4], self_attention(max_pool_3x3(FEATURES[:, 4:])))
    assert torch.equal(last[:, 4:], average_pool_3x3(FEATURES[:, :4]))


@pytest.mark.parametrize(
    ("attend", "attention"),
    [
        ("tokens", self_attention),
        ("cosine", cosine_attention),
        ("per_channel", per_channel_attention),
    ],
)
def test_ratio_one_has_no_average(
    attend: AttentionKind, attention: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    deep = PartialSelfAttention(ratio=1, attend=attend).on_deepest(FEATURES)
    assert torch.equal(deep, attention(max_pool_3x3(FEATURES)))


def test_the_attending_half_can_be_pooled_by_its_mean_and_sharpened() -> None:
    context = PartialSelfAttention(attend="cosine", temperature=0.3, pooling="mean")
    deep = context.on_deepest(FEATURES)
    pooled = average_pool_3x3(FEATURES)
    assert torch.equal(deep[:, :4], cosine_attention(pooled[:, :4], 0.3))
    assert torch.equal(deep[:, 4:], pooled[:, 4:])
    unpadded = replace(context, count_padding=False).on_deepest(FEATURES)
    inner = average_pool_3x3(FEATURES[:, :4], count_padding=False)
    assert torch.equal(unpadded[:, :4], cosine_attention(inner, 0.3))


def test_a_random_half_is_drawn_from_its_seed() -> None:
    one, same, other = (
        PartialSelfAttention(channel_choice="random", seed=seed).on_deepest(FEATURES)
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("ratio", "blocks"),
    [(0, (9, 1024)), (0.25, (9, 256, 768)), (0.5, (9, 512, 512)), (1, (9, 1024))],
)
def test_blocks(ratio: float, blocks: tuple[int, ...]) -> None:
    assert PartialSelfAttention(ratio=ratio).channel_blocks((9, 1024)) == blocks


def test_a_ratio_beyond_one_is_refused() -> None:
    with pytest.raises(OptionError, match=r"1\.5 is not a fraction"):
        PartialSelfAttention(ratio=1.5)


@pytest.mark.parametrize("temperature", [0.0, -0.1, float("nan"), 1e-6, 1e6])
def test_a_temperature_out_of_its_range_is_refused(temperature: float) -> None:
    with pytest.raises(OptionError, match=r"temperature=.*; use 0\.001 to 1000"):
        PartialSelfAttention(attend="cosine", temperature=temperature)


def windows(count: int, length: int) -> list[slice]:
    """The windows of adaptive pooling: ⌊i n / E⌋ to ⌈(i + 1) n / E⌉."""
    return [slice(i * count // length, -(-(i + 1) * count // length)) for i in range(length)]


@pytest.mark.parametrize("length", [8, 9, 24, 72])
def test_a_pooled_neighbourhood_is_that_of_patchcores_code(length: int) -> None:
    pooled = PooledNeighbourhood(length=length).on_deepest(FEATURES)
    padded = np.pad(FEATURES.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)))
    for row, column in ((0, 0), (2, 3), (4, 5)):
        numbers = padded[:, :, row : row + 3, column : column + 3].reshape(2, -1)
        by_hand = np.stack(
            [numbers[:, window].mean(axis=1) for window in windows(72, length)], axis=1
        )
        np.testing.assert_allclose(pooled[:, :, row, column].numpy(), by_hand, rtol=1e-5)


def test_windows_of_nine_are_the_spatial_mean() -> None:
    assert torch.allclose(
        PooledNeighbourhood(length=8).on_deepest(FEATURES), average_pool_3x3(FEATURES), atol=1e-6
    )


def test_joined_layers_are_pooled_in_pairs() -> None:
    joined = PooledNeighbourhood(length=4).after_concat(FEATURES)
    assert torch.allclose(joined, FEATURES.reshape(2, 4, 2, 5, 6).mean(dim=2))
    assert PooledNeighbourhood(length=4).channel_blocks((8, 16)) == (4,)


@pytest.mark.parametrize("gate", ["dual_axis", "channels"])
def test_gates_leave_a_map_alone_that_is_the_same_everywhere(gate: Any) -> None:
    constant = torch.full((1, 4, 5, 6), 2.5)
    assert torch.allclose(Gated(gate=gate).on_deepest(constant), average_pool_3x3(constant))


def test_gates_treat_every_layer() -> None:
    assert not torch.allclose(Gated().on_shallower(FEATURES), average_pool_3x3(FEATURES))
    assert torch.equal(Gated().on_deepest(FEATURES), Gated().on_shallower(FEATURES))
    assert not torch.allclose(Gated().on_deepest(FEATURES), Neighbourhood().on_deepest(FEATURES))


def test_the_deepest_layer_may_have_another_window() -> None:
    wide = Neighbourhood(deepest_window=5, count_padding=False)
    assert torch.equal(
        wide.on_shallower(FEATURES), Neighbourhood(count_padding=False).on_deepest(FEATURES)
    )
    assert torch.equal(wide.on_deepest(FEATURES), average_pool(FEATURES, 5, count_padding=False))


@pytest.mark.parametrize("window", [0, -3, 4])
def test_a_window_without_a_middle_is_refused(window: int) -> None:
    with pytest.raises(OptionError, match=f"deepest_window={window}; use an odd number"):
        Neighbourhood(deepest_window=window)
