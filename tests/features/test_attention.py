from __future__ import annotations

import math

import pytest
import torch

from flawmap.errors import OptionError
from flawmap.features.attention import (
    Neighbourhood,
    SplitAttention,
    attend_channels,
    attend_tokens,
    average,
    pool_max,
)

FEATURES = torch.rand(2, 8, 5, 6, generator=torch.Generator().manual_seed(0)) * 3


def test_token_attention_golden() -> None:
    tokens = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    out = attend_tokens(tokens.T.reshape(1, 2, 1, 3)).reshape(2, 3).T
    expected = torch.tensor([[0.802224, 0.598888], [0.598888, 0.802224], [0.751745, 0.751745]])
    assert torch.allclose(out, expected, atol=1e-6)


def test_token_attention_weights_golden() -> None:
    # Carrying one-hot channels beside the tokens would change the products; so the weights are read off by solving.
    tokens = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    weights = torch.softmax(tokens @ tokens.T / math.sqrt(2), dim=-1)
    expected = torch.tensor([0.401112, 0.197776, 0.401112], dtype=torch.float64)
    assert torch.allclose(weights[0], expected, atol=1e-6)
    entropies = -(weights * weights.log()).sum(dim=1)
    assert torch.allclose(entropies, torch.tensor([1.053363, 1.053363, 1.037277], dtype=torch.float64), atol=1e-6)
    assert torch.allclose(attend_tokens(tokens.T.reshape(1, 2, 1, 3)).reshape(2, 3).T, weights @ tokens)


def test_channel_attention_golden() -> None:
    out = attend_channels(torch.tensor([1.0, 0.0, 1.0]).reshape(1, 1, 1, 3))
    assert torch.allclose(out.flatten(), torch.tensor([0.844638, 0.666667, 0.844638]), atol=1e-6)


def test_average_of_ones_counts_the_padding() -> None:
    ones = average(torch.ones(1, 1, 3, 3))[0, 0]
    assert torch.allclose(ones, torch.tensor([[4, 6, 4], [6, 9, 6], [4, 6, 4]]) / 9)
    assert torch.allclose(average(torch.ones(1, 1, 3, 3), count_padding=False), torch.tensor(1.0))


@pytest.mark.parametrize("attend", [attend_tokens, attend_channels])
def test_attention_is_a_convex_combination(attend) -> None:
    out = attend(FEATURES)
    low, high = FEATURES.amin(dim=(2, 3), keepdim=True), FEATURES.amax(dim=(2, 3), keepdim=True)
    assert (out >= low - 1e-6).all()
    assert (out <= high + 1e-6).all()


@pytest.mark.parametrize("attend", [attend_tokens, attend_channels])
def test_attention_has_no_place_of_its_own(attend) -> None:
    assert torch.allclose(attend(FEATURES.flip(-1)), attend(FEATURES).flip(-1), atol=1e-6)


@pytest.mark.parametrize("attend", [attend_tokens, attend_channels])
def test_a_constant_map_stays(attend) -> None:
    constant = torch.full((1, 4, 3, 3), 2.5)
    assert torch.allclose(attend(constant), constant)


def test_channel_attention_in_chunks_is_the_same() -> None:
    assert torch.allclose(attend_channels(FEATURES, at_once=3), attend_channels(FEATURES))


def test_ratio_zero_is_patchcore() -> None:
    assert torch.equal(SplitAttention(ratio=0)(FEATURES), Neighbourhood()(FEATURES))


def test_ratio_one_has_no_average() -> None:
    assert torch.equal(SplitAttention(ratio=1)(FEATURES), attend_tokens(pool_max(FEATURES)))


def test_halves() -> None:
    first = SplitAttention(half="first")(FEATURES)
    assert torch.equal(first[:, :4], attend_tokens(pool_max(FEATURES[:, :4])))
    assert torch.equal(first[:, 4:], average(FEATURES[:, 4:]))
    last = SplitAttention(half="last")(FEATURES)
    assert torch.equal(last[:, :4], attend_tokens(pool_max(FEATURES[:, 4:])))
    assert torch.equal(last[:, 4:], average(FEATURES[:, :4]))


def test_a_random_half_is_drawn_from_its_seed() -> None:
    one, same, other = (SplitAttention(half="random", seed=seed)(FEATURES) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(("ratio", "blocks"), [(0, (1024,)), (0.25, (256, 768)), (0.5, (512, 512)), (1, (1024,))])
def test_blocks(ratio: float, blocks: tuple[int, ...]) -> None:
    assert SplitAttention(ratio=ratio).blocks(1024) == blocks


def test_a_ratio_beyond_one_is_refused() -> None:
    with pytest.raises(OptionError, match=r"1\.5 is not a share"):
        SplitAttention(ratio=1.5)
