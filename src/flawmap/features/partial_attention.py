"""Self-attention for a fraction of the deepest layer's channels (Li et al. 2025; SA-PatchCore)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch

from flawmap.errors import OptionError
from flawmap.features.attention import cosine_attention, per_channel_attention, self_attention
from flawmap.features.context_base import Context
from flawmap.features.pooling import max_pool_3x3
from flawmap.support.options import check_range
from flawmap.support.tensors import Features

ChannelChoice = Literal["first", "last", "random"]
AttentionKind = Literal["tokens", "cosine", "per_channel"]
_AttentionPooling = Literal["max", "mean"]


@dataclass(frozen=True)
class PartialSelfAttention(Context):
    """Attention for a fraction of the channels, the 3×3 average for the rest (Li et al. 2025).

    The attending channels are pooled first, and come before the averaged ones. The paper's own
    reading is the default; `attend="cosine", pooling="mean"` is ours, where vectors of any length
    attend alike (docs/tables.md).

    Args:
        ratio: fraction of the channels that attend, 0…1; 0 is PatchCore.
        channel_choice: which of them: the first (the paper's text), the last, or a random choice.
        attend: `tokens` compares positions by all their channels, scaled by 1/√d (the paper's eq.
            2); `cosine` compares them by how they differ from the mean of the image, at one length,
            scaled by 1/temperature; `per_channel` lets each channel attend by itself, unscaled
            (SA-PatchCore's code).
        seed: of the random choice.
        temperature: of `cosine`, 0.001…1000; smaller ones attend to fewer positions.
        pooling: of each 3×3 neighbourhood of the attending channels: its maximum (the paper), or
            its mean, as the other channels have it.
        count_padding: whether the zeros beyond the border count in averages.

    Raises:
        OptionError: the ratio is no fraction, or the temperature is out of its range.

    Example:
        >>> PartialSelfAttention(ratio=0.25).channel_blocks((512, 1024))
        (512, 256, 768)
    """

    is_local: ClassVar[bool] = False

    ratio: float = 0.5
    channel_choice: ChannelChoice = "first"
    attend: AttentionKind = "tokens"
    seed: int = 0
    temperature: float = field(default=0.1, metadata={"symbol": "τ"})
    pooling: _AttentionPooling = "max"

    def __post_init__(self) -> None:
        if not 0 <= self.ratio <= 1:
            raise OptionError(f"attention ratio {self.ratio} is not a fraction; use 0…1")
        check_range(self, "temperature", 0.001, 1000)

    def on_deepest(self, features: Features) -> Features:
        """The attending channels, then the averaged ones.

        Args:
            features: (batch, channel, row, column).
        """
        attending, averaged = self._split(features)
        maps = []
        if attending.shape[1]:
            maps.append(self._attend(self._pool(attending)))
        if averaged.shape[1]:
            maps.append(self.on_shallower(averaged))
        return torch.cat(maps, dim=1)

    def channel_blocks(self, channels: Sequence[int]) -> tuple[int, ...]:
        """Each shallower layer, then the attending and the averaged channels of the deepest.

        Args:
            channels: of each layer's map, from fine to coarse.
        """
        *shallow, deepest = channels
        attending = round(self.ratio * deepest)
        runs = (*shallow, attending, deepest - attending)
        return tuple(length for length in runs if length)

    def _pool(self, features: Features) -> Features:
        return max_pool_3x3(features) if self.pooling == "max" else self.on_shallower(features)

    def _attend(self, features: Features) -> Features:
        if self.attend == "cosine":
            return cosine_attention(features, self.temperature)
        return (
            self_attention(features) if self.attend == "tokens" else per_channel_attention(features)
        )

    def _split(self, features: Features) -> tuple[Features, Features]:
        channels = features.shape[1]
        attending = round(self.ratio * channels)
        if self.channel_choice == "last":
            first_attending = channels - attending
            return features[:, first_attending:], features[:, :first_attending]
        if self.channel_choice == "random":
            generator = torch.Generator().manual_seed(self.seed)
            features = features[:, torch.randperm(channels, generator=generator)]
        return features[:, :attending], features[:, attending:]
