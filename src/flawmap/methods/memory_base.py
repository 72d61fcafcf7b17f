"""What methods without training share: shards of what they need, from any number of machines."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import final

from flawmap.engine.batches import Batch
from flawmap.methods.base import Method, State


@dataclass(eq=False)
class MemoryMethod(Method):
    """A method without training: extracts what it needs of the images, and fits that.

    The images may be extracted in any number of shards, on any number of machines; fitting all
    shards is the same as fitting one shard of all images in the same order.

    Example:
        >>> from flawmap.methods.padim import PaDiM
        >>> method = PaDiM(backbone="test_resnet", weights="random", channels=5)
        >>> batch = Batch(torch.rand(2, 3, 32, 32), ["a.png", "b.png"])
        >>> shards = [method.extract([batch]), method.extract([batch])]
        >>> int(sum(shard["count"] for shard in shards))
        4
    """

    def fit_features(self, batches: Iterable[Batch], folder: Path | None = None) -> None:
        """Fit what takes all images, before any shard is extracted; for most methods nothing.

        Args:
            batches: all good images.
            folder: where a training keeps checkpoints to resume from; None for none.
        """

    @abstractmethod
    def extract(self, batches: Iterable[Batch]) -> State:
        """What fitting needs of a shard of the good images; on any machine.

        Args:
            batches: the shard's images.
        """

    @abstractmethod
    def fit_shards(self, shards: list[State]) -> MemoryMethod:
        """Fit to all shards; the same as to one shard of all images in the same order.

        Args:
            shards: what `extract` returned for each.

        Returns:
            The method itself.
        """

    @final
    def fit(self, batches: Iterable[Batch], folder: Path | None = None) -> MemoryMethod:
        """Fit to good images, in one shard.

        Args:
            batches: the images.
            folder: where a training of `fit_features` keeps checkpoints; None for none.

        Returns:
            The method itself.
        """
        self.fit_features(batches, folder)
        self._fit_batches(batches)
        return self

    def _fit_batches(self, batches: Iterable[Batch]) -> None:
        self.fit_shards([self.extract(batches)])
