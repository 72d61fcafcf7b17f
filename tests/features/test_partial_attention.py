from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from flawmap.errors import OptionError
from flawmap.features.attention import cosine_attention, per_channel_attention, self_attention
from flawmap.features.context import Neighbourhood
from flawmap.features.partial_attention import AttentionKind, PartialSelfAttention
from flawmap.features.pooling import average_pool_3x3, max_pool_3x3

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
