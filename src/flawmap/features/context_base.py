"""What contexts share: their base class; `flawmap.features.context` has them all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from flawmap.features.pooling import average_pool_3x3
from flawmap.support.tensors import Features


@dataclass(frozen=True)
class Context(ABC):
    """Adds to each position of the maps some of its surroundings; keeps height and width.

    A context of your own is a frozen dataclass with this base, registered in `CONTEXTS`; see
    docs/plugins.md.

    Args:
        count_padding: whether the zeros beyond the border count in averages; Li et al. 2025, eq. 1
            counts them.
    """

    is_local: ClassVar[bool] = True
    """Whether a position sees its neighbours alone, so that padding spoils no distant one."""

    count_padding: bool = field(default=True, kw_only=True)

    @abstractmethod
    def on_deepest(self, features: Features) -> Features:
        """The deepest layer's map, in context.

        Args:
            features: (batch, channel, row, column).

        Returns:
            A map with the same rows and columns.
        """

    def on_shallower(self, features: Features) -> Features:
        """The map of any other layer, in context; here the average of each 3×3 neighbourhood.

        Args:
            features: (batch, channel, row, column).

        Returns:
            A map with the same rows and columns.
        """
        return average_pool_3x3(features, count_padding=self.count_padding)

    def after_concat(self, features: Features) -> Features:
        """The joined maps, in context; here as they are.

        Args:
            features: (batch, channel, row, column), the channels of all layers.
        """
        return features

    def channel_blocks(self, channels: Sequence[int]) -> tuple[int, ...]:
        """Lengths of the runs of channels of the joined maps that have one source.

        Args:
            channels: of each layer's map, from fine to coarse.
        """
        return tuple(channels)
