"""What a position of a map sees of its surroundings before it becomes part of a patch vector.

Its neighbours (PatchCore), the full map by self-attention (Li et al. 2025; SA-PatchCore), or its
neighbours in a map whose rows and columns were weighted (Rail-PatchCore). Nothing here is fitted.
Ambiguities of the papers' texts, and their other readings, are options.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from einops import rearrange
from torch.nn import functional

from flawmap.errors import OptionError
from flawmap.features.context_base import Context
from flawmap.features.gates import gate_axes, gate_channels
from flawmap.features.partial_attention import PartialSelfAttention
from flawmap.features.pooling import average_pool, average_pool_3x3
from flawmap.support.options import Components, check_range
from flawmap.support.tensors import Features


@dataclass(frozen=True)
class Neighbourhood(Context):
    """The average of the 3×3 neighbourhood, as in most code of PatchCore's kind.

    Args:
        deepest_window: side of the deepest layer's neighbourhood in positions, odd. At a smaller
            stride (`Method.stride`) 5 sees about as much of the image as 3 does at the network's
            own.
        count_padding: whether the zeros beyond the border count in averages.

    Example:
        >>> Neighbourhood().on_deepest(torch.ones(1, 1, 3, 3))[0, 0, 0, 0]
        tensor(0.4444)
        >>> Neighbourhood(count_padding=False).on_deepest(torch.ones(1, 1, 3, 3))[0, 0, 0, 0]
        tensor(1.)

    Raises:
        OptionError: the window is even, or less than 1.
    """

    deepest_window: int = 3

    def __post_init__(self) -> None:
        if self.deepest_window < 1 or self.deepest_window % 2 == 0:
            raise OptionError(f"deepest_window={self.deepest_window}; use an odd number, such as 5")

    def on_deepest(self, features: Features) -> Features:
        """The average of each neighbourhood.

        Args:
            features: (batch, channel, row, column).
        """
        return average_pool(features, self.deepest_window, count_padding=self.count_padding)


@dataclass(frozen=True)
class PooledNeighbourhood(Context):
    """The 3×3 neighbourhood pooled to a fixed length (Roth et al. 2022, their code).

    Each position's C·3·3 numbers, by channel, row and column, are averaged in `length` windows
    (which is the spatial mean only where 9 C / `length` is 9); so are the joined layers. Zeros
    beyond the border count.

    Args:
        length: channels of each layer's map in context, and of the joined maps.
        count_padding: unused.

    Example:
        >>> PooledNeighbourhood(length=8).on_deepest(torch.ones(1, 16, 4, 4)).shape
        torch.Size([1, 8, 4, 4])
    """

    length: int = field(default=1024, metadata={"symbol": "E"})

    def __post_init__(self) -> None:
        check_range(self, "length", 1)

    def on_deepest(self, features: Features) -> Features:
        """Each 3×3 neighbourhood, pooled.

        Args:
            features: (batch, channel, row, column).
        """
        return self.on_shallower(features)

    def on_shallower(self, features: Features) -> Features:
        """Each 3×3 neighbourhood, pooled.

        Args:
            features: (batch, channel, row, column).
        """
        rows = features.shape[-2]
        unfolded = functional.unfold(features, kernel_size=3, padding=1)
        return rearrange(_pool(unfolded, self.length), "b c (h w) -> b c h w", h=rows)

    def after_concat(self, features: Features) -> Features:
        """The joined layers, pooled.

        Args:
            features: (batch, channel, row, column), the channels of all layers.
        """
        pooled = _pool(features.flatten(2), self.length)
        return pooled.reshape(features.shape[0], -1, *features.shape[2:])

    def channel_blocks(self, channels: Sequence[int]) -> tuple[int, ...]:
        """One run: pooling joins the layers.

        Args:
            channels: unused.
        """
        del channels
        return (self.length,)


@dataclass(frozen=True)
class Gated(Context):
    """The 3×3 average of maps whose rows and columns were weighted: our Rail-PatchCore.

    A reconstruction: the article (Zhang et al. 2025) is closed, and known here as "a
    dual-dimension channel attention module" alone. So that nothing need be trained, the gates are
    the maps' own means, standardised.

    Args:
        gate: `dual_axis` weights each channel's rows and columns, see `gate_axes`; `channels`
            weights each channel among all, see `gate_channels`.
        count_padding: whether the zeros beyond the border count in averages.

    Example:
        >>> Gated("channels", count_padding=False).on_deepest(torch.ones(1, 2, 3, 3)).unique()
        tensor([1.])
    """

    is_local: ClassVar[bool] = False

    gate: Literal["dual_axis", "channels"] = "dual_axis"

    def on_deepest(self, features: Features) -> Features:
        """The average of each 3×3 neighbourhood of the weighted map.

        Args:
            features: (batch, channel, row, column).
        """
        return self.on_shallower(features)

    def on_shallower(self, features: Features) -> Features:
        """The average of each 3×3 neighbourhood of the weighted map.

        Args:
            features: (batch, channel, row, column).
        """
        return average_pool_3x3(_GATES[self.gate](features), count_padding=self.count_padding)


def _pool(features: torch.Tensor, length: int) -> torch.Tensor:
    """The channels of (batch, channel, position), averaged in `length` windows."""
    return functional.adaptive_avg_pool1d(features.mT, length).mT


_GATES = {"dual_axis": gate_axes, "channels": gate_channels}

CONTEXTS = Components(
    "context", Context, [Neighbourhood, PooledNeighbourhood, PartialSelfAttention, Gated]
)
"""All contexts by name; other packages may add theirs."""
