from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from flawmap.features.attention import cosine_attention, per_channel_attention, self_attention

Attention = Callable[[torch.Tensor], torch.Tensor]
FEATURES = torch.rand(2, 8, 5, 6, generator=torch.Generator().manual_seed(0)) * 3


def test_token_attention_golden() -> None:
    tokens = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    out = self_attention(tokens.T.reshape(1, 2, 1, 3)).reshape(2, 3).T
    expected = torch.tensor([[0.802224, 0.598888], [0.598888, 0.802224], [0.751745, 0.751745]])
    assert torch.allclose(out, expected, atol=1e-6)


def test_token_attention_weights_golden() -> None:
    # Carrying one-hot channels beside the tokens would change the products; so the weights are read
    # off by solving.
    tokens = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    weights = torch.softmax(tokens @ tokens.T / math.sqrt(2), dim=-1)
    expected = torch.tensor([0.401112, 0.197776, 0.401112], dtype=torch.float64)
    assert torch.allclose(weights[0], expected, atol=1e-6)
    entropies = -(weights * weights.log()).sum(dim=1)
    assert torch.allclose(
        entropies, torch.tensor([1.053363, 1.053363, 1.037277], dtype=torch.float64), atol=1e-6
    )
    assert torch.allclose(
        self_attention(tokens.T.reshape(1, 2, 1, 3)).reshape(2, 3).T, weights @ tokens
    )


def by_cosine(tokens: np.ndarray, temperature: float) -> np.ndarray:
    """Position by position in double precision: (position, channel)."""
    centred = tokens - tokens.mean(axis=0)
    attended = np.empty_like(tokens)
    for position, query in enumerate(centred):
        lengths = np.sqrt((centred**2).sum(axis=1)) * math.sqrt((query**2).sum())
        weights = np.exp((centred @ query / lengths - 1) / temperature)
        attended[position] = (weights[:, None] * tokens).sum(axis=0) / weights.sum()
    return attended


@pytest.mark.parametrize("temperature", [0.02, 0.1, 1.0])
@pytest.mark.parametrize("offset", [0.0, 20.0])
def test_cosine_attention_is_its_formula(temperature: float, offset: float) -> None:
    features = FEATURES.double() + offset
    by_hand = np.stack([by_cosine(image.numpy(), temperature) for image in features.flatten(2).mT])
    exact = cosine_attention(features, temperature).flatten(2).mT
    np.testing.assert_allclose(exact.numpy(), by_hand, rtol=1e-9)
    single = cosine_attention(features.float(), temperature).flatten(2).mT
    np.testing.assert_allclose(single.numpy(), by_hand, rtol=2e-4)


def test_cosine_attention_looks_alike_at_vectors_of_any_length_and_offset() -> None:
    attended = cosine_attention(FEATURES)
    assert torch.allclose(cosine_attention(FEATURES * 100), attended * 100, rtol=1e-5)
    assert torch.allclose(cosine_attention(FEATURES + 1), attended + 1, atol=1e-5)
    for change in (FEATURES * 100, FEATURES + 10):
        assert not torch.allclose(
            self_attention(change) - change, self_attention(FEATURES) - FEATURES, rtol=0.1
        )


def test_the_temperature_goes_from_copying_to_the_mean() -> None:
    mean = FEATURES.mean(dim=(2, 3), keepdim=True).expand_as(FEATURES)
    assert torch.allclose(cosine_attention(FEATURES, 0.001), FEATURES, atol=1e-3)
    assert torch.allclose(cosine_attention(FEATURES, 1000), mean, atol=1e-2)
    distances = [
        float((cosine_attention(FEATURES, temperature) - mean).norm())
        for temperature in (0.01, 0.1, 1, 10)
    ]
    assert distances == sorted(distances, reverse=True)


def test_cosine_attention_of_nothing_is_nothing() -> None:
    assert torch.equal(cosine_attention(torch.zeros(1, 4, 3, 3)), torch.zeros(1, 4, 3, 3))


def test_channel_attention_golden() -> None:
    out = per_channel_attention(torch.tensor([1.0, 0.0, 1.0]).reshape(1, 1, 1, 3))
    assert torch.allclose(out.flatten(), torch.tensor([0.844638, 0.666667, 0.844638]), atol=1e-6)


@pytest.mark.parametrize("attend", [self_attention, cosine_attention, per_channel_attention])
def test_attention_is_a_convex_combination(attend: Attention) -> None:
    out = attend(FEATURES)
    low, high = FEATURES.amin(dim=(2, 3), keepdim=True), FEATURES.amax(dim=(2, 3), keepdim=True)
    assert (out >= low - 1e-6).all()
    assert (out <= high + 1e-6).all()


@pytest.mark.parametrize("attend", [self_attention, cosine_attention, per_channel_attention])
def test_attention_knows_no_position(attend: Attention) -> None:
    assert torch.allclose(attend(FEATURES.flip(-1)), attend(FEATURES).flip(-1), atol=1e-6)


@pytest.mark.parametrize("attend", [self_attention, cosine_attention, per_channel_attention])
def test_a_constant_map_stays(attend: Attention) -> None:
    constant = torch.full((1, 4, 3, 3), 2.5)
    assert torch.allclose(attend(constant), constant)


def test_channel_attention_in_chunks_is_the_same() -> None:
    assert torch.allclose(
        per_channel_attention(FEATURES, at_once=3), per_channel_attention(FEATURES)
    )
