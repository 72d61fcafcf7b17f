"""What a position of the deepest layer sees of the others: its neighbours, or by attention the whole picture.

Nothing here is learned: queries, keys and values are all the map itself (Li et al. 2025, eq. 2; the ambiguities of its
text and their readings are options; SA-PatchCore, Ishida et al. 2023, attends channel by channel).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Literal

import torch
from einops import rearrange
from torch.nn import functional

from flawmap.errors import OptionError
from flawmap.tensors import Features

Half = Literal["first", "last", "random"]
Attend = Literal["tokens", "channels"]


@dataclass(frozen=True)
class Context(ABC):
    """Gives each position of a map some of its surroundings; keeps the map's shape.

    Args:
        count_padding: whether the zeros beyond the border count in averages; the paper's eq. 1 counts them.
    """

    count_padding: bool = field(default=True, kw_only=True)

    @abstractmethod
    def __call__(self, features: Features) -> Features:
        """Return a map of the same shape."""

    @abstractmethod
    def blocks(self, channels: int) -> tuple[int, ...]:
        """Split `channels` into the runs that are treated alike, in the order they come out."""


@dataclass(frozen=True)
class Neighbourhood(Context):
    """The average of the 3×3 neighbourhood, as in PatchCore."""

    def __call__(self, features: Features) -> Features:
        """Average each 3×3 neighbourhood."""
        return average(features, count_padding=self.count_padding)

    def blocks(self, channels: int) -> tuple[int, ...]:
        """Treat all channels alike."""
        return (channels,)


@dataclass(frozen=True)
class SplitAttention(Context):
    """Attention for a share of the channels, the 3×3 average for the rest, as in the improved PatchCore.

    Args:
        ratio: the share of channels that attend, 0…1; 0 is PatchCore.
        half: which of them: the first (the paper's text), the last, or a random choice.
        attend: `tokens` compares positions by all their channels, scaled by 1/√d (the paper's eq. 2); `channels` lets
            each channel attend on its own, unscaled (SA-PatchCore's code).
        seed: of the random choice.

    The attending channels pass a 3×3 max pool first and come out ahead of the averaged ones.
    """

    ratio: float = 0.5
    half: Half = "first"
    attend: Attend = "tokens"
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.ratio <= 1:
            raise OptionError(f"attention ratio {self.ratio} is not a share; use 0…1")

    def __call__(self, features: Features) -> Features:
        """Attend with some channels, average the rest, and join them in that order."""
        attending, averaged = self._split(features)
        parts = []
        if attending.shape[1]:
            parts.append(_ATTENTION[self.attend](pool_max(attending)))
        if averaged.shape[1]:
            parts.append(average(averaged, count_padding=self.count_padding))
        return torch.cat(parts, dim=1)

    def blocks(self, channels: int) -> tuple[int, ...]:
        """Give the attending channels, then the averaged ones; a share of nothing is left out."""
        attending = round(self.ratio * channels)
        return tuple(size for size in (attending, channels - attending) if size)

    def _split(self, features: Features) -> tuple[Features, Features]:
        channels = features.shape[1]
        attending = round(self.ratio * channels)
        if self.half == "last":
            return features[:, channels - attending :], features[:, : channels - attending]
        if self.half == "random":
            features = features[:, torch.randperm(channels, generator=torch.Generator().manual_seed(self.seed))]
        return features[:, :attending], features[:, attending:]


def average(features: Features, *, count_padding: bool = True) -> Features:
    """Average each 3×3 neighbourhood; beyond the border are zeros, which count unless told otherwise.

    Counted, a map of ones becomes 4/9 in the corners and 6/9 along the edges, as in Li et al. 2025, eq. 1.
    """
    return functional.avg_pool2d(features, kernel_size=3, stride=1, padding=1, count_include_pad=count_padding)


def pool_max(features: Features) -> Features:
    """Take the largest of each 3×3 neighbourhood; nothing beyond the border counts."""
    return functional.max_pool2d(features, kernel_size=3, stride=1, padding=1)


def attend_tokens(features: Features) -> Features:
    """Let each position look at all positions: softmax(T Tᵀ / √d) T, with d channels (Li et al. 2025, eq. 2).

    >>> points = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> attend_tokens(points.T.reshape(1, 2, 1, 3)).reshape(2, 3).T
    tensor([[0.8022, 0.5989],
            [0.5989, 0.8022],
            [0.7517, 0.7517]])
    """
    rows, columns = features.shape[-2:]
    tokens = rearrange(features, "b c h w -> b (h w) c")
    weights = torch.softmax(tokens @ tokens.mT * tokens.shape[-1] ** -0.5, dim=-1)
    return rearrange(weights @ tokens, "b (h w) c -> b c h w", h=rows, w=columns)


def attend_channels(features: Features, at_once: int = 64) -> Features:
    """Let each channel look at all positions by its own values: softmax(q kᵀ) v, unscaled (SA-PatchCore's code).

    `at_once` channels at a time: each takes positions² numbers per picture.
    """
    values = rearrange(features, "b c h w -> b c (h w)")
    attended = [_attend_each(chunk) for chunk in values.split(at_once, dim=1)]
    return torch.cat(attended, dim=1).reshape(features.shape)


def _attend_each(values: torch.Tensor) -> torch.Tensor:
    weights = torch.softmax(values[..., :, None] * values[..., None, :], dim=-1)
    return (weights @ values[..., None])[..., 0]


_ATTENTION = {"tokens": attend_tokens, "channels": attend_channels}
