"""Self-attention without anything learned: queries, keys and values are all the map itself.

Over positions by all their channels (Li et al. 2025, eq. 2) or by their direction alone, or channel
by channel (SA-PatchCore, Ishida et al. 2023).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from flawmap.support.tensors import Features


def max_pool_3x3(features: Features) -> Features:
    """Take the largest of each 3×3 neighbourhood; nothing beyond the border counts."""
    return functional.max_pool2d(features, kernel_size=3, stride=1, padding=1)


def self_attention(features: Features) -> Features:
    """Let each position look at all positions: softmax(T Tᵀ / √d) T, with d channels (Li et al.

    2025, eq. 2).

    >>> points = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> attend_tokens(points.T.reshape(1, 2, 1, 3)).reshape(2, 3).T
    tensor([[0.8022, 0.5989],
            [0.5989, 0.8022],
            [0.7517, 0.7517]])
    """
    return _attend_all(features, attention_weights)


def cosine_attention(features: Features) -> Features:
    """Let each position look at all positions that point its way.

    Softmax(√d cos(T, T)) T, with d channels.

    The length of a network's vectors then no longer decides how sharply a position looks (query-key
    normalisation, Henry et al. 2020, without anything learned).

    >>> points = torch.tensor([[1.0, 0.0], [0.0, 1.0], [9.0, 9.0]])
    >>> attend_directions(points.T.reshape(1, 2, 1, 3)).reshape(2, 3).T
    tensor([[3.6491, 3.2515],
            [3.2515, 3.6491],
            [4.1611, 4.1611]])
    """
    return _attend_all(features, cosine_attention_weights)


def attention_weights(tokens: Tensor) -> Tensor:
    """Attention weights (batch, position, position) of tokens (batch, position, channel)."""
    return torch.softmax(tokens @ tokens.mT * tokens.shape[-1] ** -0.5, dim=-1)


def cosine_attention_weights(tokens: Tensor) -> Tensor:
    """The same as `attention_weights`, for tokens whose mean square is 1."""
    return attention_weights(functional.normalize(tokens, dim=-1) * tokens.shape[-1] ** 0.5)


def per_channel_attention(features: Features, at_once: int = 64) -> Features:
    """Let each channel look at all positions by its own values.

    Softmax(q kᵀ) v, unscaled (SA-PatchCore's code).

    `at_once` channels at a time: each takes positions² numbers per image.
    """
    values = rearrange(features, "b c h w -> b c (h w)")
    attended = [_attend_each(chunk) for chunk in values.split(at_once, dim=1)]
    return torch.cat(attended, dim=1).reshape(features.shape)


def _attend_all(features: Features, weigh: Callable[[Tensor], Tensor]) -> Features:
    rows, columns = features.shape[-2:]
    tokens = rearrange(features, "b c h w -> b (h w) c")
    return rearrange(weigh(tokens) @ tokens, "b (h w) c -> b c h w", h=rows, w=columns)


def _attend_each(values: Tensor) -> Tensor:
    weights = torch.softmax(values[..., :, None] * values[..., None, :], dim=-1)
    return (weights @ values[..., None])[..., 0]
