"""What a fit of PatchCore will take, said once its first images are timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil
from torch import Tensor

from flawmap.engine.batches import Batch, Batches
from flawmap.memory.forecast import FitForecast, FitSizes
from flawmap.memory.two_nearest import time_per_pair
from flawmap.methods.fit_memory import choose_kept
from flawmap.support.progress import emit

_SECONDS = 2.0
"""How long images are timed before the forecast."""

_IMAGES = 24
"""How many images are timed at least: the first ones were read ahead while the network was made."""

_SHARE = 4
"""Of few images, a quarter is timed."""

_PAIRS_TO_TIME = 10**8
"""Of fewer comparisons all take no longer than to time some."""

_Embed = Callable[[Batch], list[Tensor]]
"""A batch to the tensors of `Embedded.flatten`."""


class Limits(NamedTuple):
    """What a fit must keep to.

    Args:
        memory: most resident memory of this process, in bytes.
        folder: for vectors of good images.
    """

    memory: int
    folder: Path


class FitPlan:
    """Watches the first images of a fit, and says what it takes.

    Args:
        batches: good images, whole or as tiles, of which some may prove unreadable.
        sizes_for: of the fit, by the patches of an image or tile, how many of them are kept,
            channels, and the number of images or tiles.
        limits: None where vectors stay in memory.

    Attributes:
        sizes: of the fit; None before the first batch.
    """

    def __init__(
        self,
        batches: Batches,
        sizes_for: Callable[[int, int, int, int], FitSizes],
        limits: Limits | None = None,
    ) -> None:
        self._images = len(batches.image_inputs)
        self._inputs = batches.input_count
        self._sizes_for = sizes_for
        self._limits = limits
        self.sizes: FitSizes | None = None
        self._done = 0
        self._base = 0
        self._started = 0.0
        self._timed = 0
        self._is_said = False

    def __call__(self, tensors: list[Tensor], done: int, before: int) -> int:
        """How many patches of each image are kept, once the first batch is embedded.

        Args:
            tensors: what was made of that batch.
            done: images that an earlier run has done.
            before: patches that it kept of each; 0 for no such run.

        Raises:
            OptionError: the memory is less than the least possible.
            WriteError: the disk has no room for the least possible.
        """
        _, rows, columns, channels = tensors[0].shape
        patches = rows * columns
        self._base = psutil.Process().memory_info().rss
        kept = patches
        if self._limits:
            memory, folder = self._limits

            def sizes_for(kept: int) -> FitSizes:
                return self._sizes_for(patches, kept, channels, self._inputs)

            kept = choose_kept(sizes_for, memory, self._base, folder, before)
        self.sizes = self._sizes_for(patches, kept, channels, self._inputs)
        self._done += done
        return kept

    def watch(self, embed: _Embed) -> _Embed:
        """The same embedding, watched until the forecast is said.

        Args:
            embed: makes the vectors of a batch.
        """

        def embed_and_time(batch: Batch) -> list[Tensor]:
            tensors = embed(batch)
            if not self._is_said:
                self._count(tensors, len(batch.names))
            return tensors

        return embed_and_time

    def _count(self, tensors: list[Tensor], images: int) -> None:
        self._done += images
        if not self._started:  # The first batch waited for the network.
            self._started = time.monotonic()
            if not self._limits:
                self(tensors, 0, 0)
            return
        if self.sizes is None:
            # Only a fit that goes on with nothing left to extract has not planned by now.
            self._is_said = True
            return
        self._timed += images
        elapsed = time.monotonic() - self._started
        enough = self._timed >= _IMAGES and elapsed >= _SECONDS
        if enough or self._timed * _SHARE >= self._inputs:
            self._is_said = True
            self._say(elapsed / self._timed)

    def _say(self, per_image: float) -> None:
        sizes = self.sizes
        assert sizes is not None, "the first batch was planned"
        left = max(0, self._inputs - self._done)
        per_pair = sizes.seconds_per_pair
        if sizes.pairs >= _PAIRS_TO_TIME:
            per_pair = time_per_pair(sizes.rows, sizes.bank_channels)
        kept = 0 if self._limits else sizes.vector_bytes
        memory = self._base + max(
            kept + sizes.search_bytes, sizes.graph_bytes, sizes.decoding_bytes
        )
        disk = sizes.saved_bytes + (sizes.vector_bytes if self._limits else 0)
        seconds = sizes.seconds(per_image, left, per_pair)
        emit(FitForecast(self._images, seconds, memory, disk))
