"""Self-attention with nothing learned: queries, keys and values are all the map itself.

Over positions by all their channels (Li et al. 2025, eq. 2) or by how they differ from the mean of
the image, or channel by channel (SA-PatchCore, Ishida et al. 2023).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from flawmap.support.tensors import Features


def self_attention(features: Features) -> Features:
    """The map in which each position attends to all positions.

    softmax(T Tᵀ / √d) T over the positions T, with d channels (Li et al. 2025, eq. 2).

    Args:
        features: (batch, channel, row, column).

    Example:
        >>> tokens = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> self_attention(tokens.T.reshape(1, 2, 1, 3)).reshape(2, 3).T
        tensor([[0.8022, 0.5989],
                [0.5989, 0.8022],
                [0.7517, 0.7517]])
    """
    return _attend_all(features, attention_weights)


def cosine_attention(features: Features, temperature: float = 0.1) -> Features:
    """The map in which each position attends to those that differ from the mean as it does.

    softmax(Q Qᵀ / τ) T over the positions T, where Q = (T − m) / ‖T − m‖ and m is the mean of T
    over the image. Neither the length of a network's vectors nor what all positions share then
    decides how sharply a position attends (query-key normalisation, Henry et al. 2020, of centred
    tokens, with nothing learned).

    Args:
        features: (batch, channel, row, column).
        temperature: τ; smaller ones make a position attend to fewer others, > 0.

    Example:
        >>> tokens = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]])
        >>> cosine_attention(tokens.T.reshape(1, 2, 1, 3), temperature=1.0).reshape(2, 3).T
        tensor([[0.8796, 0.4716],
                [0.4716, 0.8796],
                [1.6007, 1.6007]])
    """
    weigh = partial(cosine_attention_weights, temperature=temperature)
    return _attend_all(features, weigh)


def attention_weights(tokens: Tensor) -> Tensor:
    """How much each position attends to each: (batch, position, position), rows of sum 1.

    Args:
        tokens: (batch, position, channel).

    Example:
        >>> attention_weights(torch.zeros(1, 4, 2))[0, 0]
        tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """
    return torch.softmax(tokens @ tokens.mT * tokens.shape[-1] ** -0.5, dim=-1)


def cosine_attention_weights(tokens: Tensor, temperature: float = 0.1) -> Tensor:
    """How much each position attends to each by `cosine_attention`, rows of sum 1.

    Args:
        tokens: (batch, position, channel).
        temperature: τ, > 0.

    Example:
        >>> tokens = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
        >>> cosine_attention_weights(tokens, temperature=1.0)
        tensor([[[0.8808, 0.1192],
                 [0.1192, 0.8808]]])
    """
    queries = functional.normalize(tokens - tokens.mean(dim=1, keepdim=True), dim=-1)
    return torch.softmax(queries @ queries.mT / temperature, dim=-1)


def per_channel_attention(features: Features, at_once: int = 64) -> Features:
    """The map in which each channel attends to all positions by its own values.

    softmax(q kᵀ) v, unscaled (SA-PatchCore's code).

    Args:
        features: (batch, channel, row, column).
        at_once: channels at a time; each takes positions² numbers per image.

    Example:
        >>> per_channel_attention(torch.tensor([1.0, 0.0, 1.0]).reshape(1, 1, 1, 3)).flatten()
        tensor([0.8446, 0.6667, 0.8446])
    """
    values = rearrange(features, "b c h w -> b c (h w)")
    attended = [_attend_each(chunk) for chunk in values.split(at_once, dim=1)]
    return torch.cat(attended, dim=1).reshape(features.shape)


def _attend_all(features: Features, weights_of: Callable[[Tensor], Tensor]) -> Features:
    rows, columns = features.shape[-2:]
    tokens = rearrange(features, "b c h w -> b (h w) c")
    return rearrange(weights_of(tokens) @ tokens, "b (h w) c -> b c h w", h=rows, w=columns)


def _attend_each(values: Tensor) -> Tensor:
    weights = torch.softmax(values[..., :, None] * values[..., None, :], dim=-1)
    return (weights @ values[..., None])[..., 0]
