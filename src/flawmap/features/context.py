"""What a position of a map sees of its surroundings before it becomes part of a patch vector.

Its neighbours (PatchCore), the whole image by self-attention (Li et al. 2025; SA-PatchCore), or its
neighbours in a map whose rows and columns were weighed (Rail-PatchCore). Nothing here is learned.
Ambiguities of the papers' texts, and their other readings, are options.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from einops import rearrange
from torch.nn import functional

from flawmap.errors import OptionError
from flawmap.features.attention import (
    cosine_attention,
    max_pool_3x3,
    per_channel_attention,
    self_attention,
)
from flawmap.support.tensors import Features

ChannelChoice = Literal["first", "last", "random"]
AttentionKind = Literal["tokens", "cosine", "per_channel"]
Gate = Literal["dual_axis", "channels"]


@dataclass(frozen=True)
class Context(ABC):
    """Gives each position of the maps some of its surroundings; keeps their height and width.

    Args:
        count_padding: whether the zeros beyond the border count in averages; Li et al. 2025, eq. 1
            counts them.
    """

    count_padding: bool = field(default=True, kw_only=True)

    @abstractmethod
    def on_deepest(self, features: Features) -> Features:
        """Treat the deepest layer's map."""

    def on_shallower(self, features: Features) -> Features:
        """Treat the map of any other layer: average each 3×3 neighbourhood."""
        return average_pool_3x3(features, count_padding=self.count_padding)

    def after_concat(self, features: Features) -> Features:
        """Treat the joined maps: leave them as they are."""
        return features

    def channel_blocks(self, channels: Sequence[int]) -> tuple[int, ...]:
        """Runs of channels of the joined maps with one source, from the layers' channels."""
        return tuple(channels)


@dataclass(frozen=True)
class Neighbourhood(Context):
    """The average of the 3×3 neighbourhood, as in most code of PatchCore's kind."""

    def on_deepest(self, features: Features) -> Features:
        """Average each 3×3 neighbourhood."""
        return self.on_shallower(features)


@dataclass(frozen=True)
class PooledNeighbourhood(Context):
    """The 3×3 neighbourhood pooled to a fixed length (Roth et al. 2022, their code).

    Each position's C·3·3 numbers, by channel, row and column, are averaged in `length` windows
    (which is the spatial mean only where 9 C / `length` is 9); so are the joined layers. Zeros
    beyond the border count.

    Args:
        length: of what comes from each layer, and of the whole vector.
    """

    length: int = 1024

    def on_deepest(self, features: Features) -> Features:
        """Pool each 3×3 neighbourhood."""
        return self.on_shallower(features)

    def on_shallower(self, features: Features) -> Features:
        """Pool each 3×3 neighbourhood."""
        rows = features.shape[-2]
        unfolded = functional.unfold(features, kernel_size=3, padding=1)
        return rearrange(_pool(unfolded, self.length), "b c (h w) -> b c h w", h=rows)

    def after_concat(self, features: Features) -> Features:
        """Pool the joined layers."""
        return _pool(features.flatten(2), self.length).reshape(
            features.shape[0], -1, *features.shape[2:]
        )

    def channel_blocks(self, channels: Sequence[int]) -> tuple[int, ...]:
        """Count the whole vector as one run."""
        del channels
        return (self.length,)


@dataclass(frozen=True)
class PartialSelfAttention(Context):
    """Attention for a fraction of the channels, the 3×3 average for the rest.

    Source: the improved PatchCore (Li et al. 2025).

    Args:
        ratio: the share of channels that attend, 0…1; 0 is PatchCore.
        half: which of them: the first (the paper's text), the last, or a random choice.
        attend: `tokens` compares positions by all their channels, scaled by 1/√d (the paper's eq.
            2); `directions` does so with queries and keys of one length, for networks whose long
            vectors would else only look at themselves; `channels` lets each channel attend on its
            own, unscaled (SA-PatchCore's code).
        seed: of the random choice.

    The attending channels pass a 3×3 max pool first and come out ahead of the averaged ones.
    """

    ratio: float = 0.5
    channel_choice: ChannelChoice = "first"
    attend: AttentionKind = "tokens"
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.ratio <= 1:
            raise OptionError(f"attention ratio {self.ratio} is not a share; use 0…1")

    def on_deepest(self, features: Features) -> Features:
        """Attend with some channels, average the rest, and join them in that order."""
        attending, averaged = self._split(features)
        parts = []
        if attending.shape[1]:
            parts.append(_ATTENTION[self.attend](max_pool_3x3(attending)))
        if averaged.shape[1]:
            parts.append(self.on_shallower(averaged))
        return torch.cat(parts, dim=1)

    def channel_blocks(self, channels: Sequence[int]) -> tuple[int, ...]:
        """Part the deepest layer into attending and averaged channels.

        A share of nothing is left out.
        """
        *shallow, deep = channels
        attending = round(self.ratio * deep)
        return (*shallow, *(size for size in (attending, deep - attending) if size))

    def _split(self, features: Features) -> tuple[Features, Features]:
        channels = features.shape[1]
        attending = round(self.ratio * channels)
        if self.channel_choice == "last":
            return features[:, channels - attending :], features[:, : channels - attending]
        if self.channel_choice == "random":
            features = features[
                :, torch.randperm(channels, generator=torch.Generator().manual_seed(self.seed))
            ]
        return features[:, :attending], features[:, attending:]


@dataclass(frozen=True)
class Gated(Context):
    """The 3×3 average of maps whose rows and columns were weighed.

    Our reconstruction of Rail-PatchCore.

    The article (Zhang et al. 2025) is closed, and known here as "a dual-dimension channel attention
    module" alone. So that nothing need be trained, the gates are the maps' own means, standardised.

    Args:
        gate: `dual_axis` weighs each channel's rows and columns by how their means stand out;
            `channels` weighs each channel by how its mean and its maximum stand out among all
            channels (after CBAM, Woo et al. 2018).
    """

    gate: Gate = "dual_axis"

    def on_deepest(self, features: Features) -> Features:
        """Weigh, then average each 3×3 neighbourhood."""
        return self.on_shallower(features)

    def on_shallower(self, features: Features) -> Features:
        """Weigh, then average each 3×3 neighbourhood."""
        return average_pool_3x3(_GATES[self.gate](features), count_padding=self.count_padding)


def gate_axes(features: Features) -> Features:
    """Weigh rows and columns of each channel: F · 4 σ(z(row means)) σ(z(column means)).

    z standardises along the axis; the 4 makes up for σ(0)² = 1/4.
    """
    rows = torch.sigmoid(_standardise(features.mean(dim=3, keepdim=True), dim=2))
    columns = torch.sigmoid(_standardise(features.mean(dim=2, keepdim=True), dim=3))
    return features * (4 * rows * columns)


def gate_channels(features: Features) -> Features:
    """Weigh channels: F · 2 σ(z(means) + z(maxima)), z over the channels.

    The 2 makes up for σ(0) = 1/2.
    """
    means, maxima = features.mean(dim=(2, 3), keepdim=True), features.amax(dim=(2, 3), keepdim=True)
    return features * (2 * torch.sigmoid(_standardise(means, dim=1) + _standardise(maxima, dim=1)))


def average_pool_3x3(features: Features, *, count_padding: bool = True) -> Features:
    """Average each 3×3 neighbourhood.

    Beyond the border are zeros, which count unless told otherwise.

    Counted, a map of ones becomes 4/9 in the corners and 6/9 along the edges, as in Li et al. 2025,
    eq. 1.
    """
    return functional.avg_pool2d(
        features, kernel_size=3, stride=1, padding=1, count_include_pad=count_padding
    )


def _pool(features: torch.Tensor, length: int) -> torch.Tensor:
    """Average the channels of (batch, channel, place) in `length` windows."""
    return functional.adaptive_avg_pool1d(features.mT, length).mT


def _standardise(values: torch.Tensor, dim: int) -> torch.Tensor:
    centred = values - values.mean(dim=dim, keepdim=True)
    # What is the same everywhere stands out nowhere.
    return centred / (centred.square().mean(dim=dim, keepdim=True).sqrt() + _TINY)


_TINY = 1e-6

_ATTENTION = {
    "tokens": self_attention,
    "cosine": cosine_attention,
    "per_channel": per_channel_attention,
}
_GATES = {"dual_axis": gate_axes, "channels": gate_channels}
