"""Scoring by distances of patches: a backend scores tiles or whole images, and they are joined."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from flawmap.runtime.backend import ScoredImage, ScoringBackend
from flawmap.runtime.image_types import Preprocessed
from flawmap.runtime.patch_scoring import PatchScoring
from flawmap.runtime.preprocess import Preprocessing
from flawmap.runtime.tiles import TileLayout, Tiles, join_tiles

_MIN_TILES_FOR_THROUGHPUT = 16
"""Fewer tiles are done one by one before several at once are made ready."""


class TileScorer:
    """Scores images tile by tile; safe in any number of threads.

    Args:
        backend: gives the distances of a tile's patches as its map.
        scoring: how all distances of an image make its score and map.
        preprocessing: of the network's input, whose size is the tile's.
    """

    def __init__(
        self, backend: ScoringBackend, scoring: PatchScoring, preprocessing: Preprocessing
    ) -> None:
        self._backend = backend
        self._scoring = scoring
        self._preprocessing = preprocessing

    def score_many(self, images: Iterable[Tiles], *, throughput: bool) -> Iterator[ScoredImage]:
        """Score and anomaly map of each image, in order; the map is in the pixels that were seen.

        Args:
            images: as tiles.
            throughput: whether several tiles are computed at once; of an image of many they are in
                any case.
        """
        images = iter(images)
        waiting = deque(islice(images, 1))
        is_large = any(len(tiles) >= _MIN_TILES_FOR_THROUGHPUT for tiles in waiting)
        begun: deque[tuple[TileLayout, float]] = deque()

        def all_tiles() -> Iterator[Preprocessed]:
            while waiting:
                tiles = waiting.popleft()
                begun.append((tiles.layout, time.perf_counter()))
                yield from tiles
                del tiles  # Else its image would be held while the next one is decoded.
                waiting.extend(islice(images, 1))

        scored = self._backend.score_many(all_tiles(), throughput=throughput or is_large)
        for tile in scored:
            yield self._joined(chain([tile], scored), *begun.popleft())

    def _joined(
        self, scored: Iterator[ScoredImage], layout: TileLayout, started: float
    ) -> ScoredImage:
        """The next tiles, as many as the layout has, as one image."""
        grids = (tile.distances for tile in islice(scored, len(layout.origins)))
        distances = join_tiles(grids, layout, self._preprocessing)
        made = self._scoring(distances, layout.image_size, self._preprocessing)
        # Tiles are computed side by side, so their own times add up to more.
        elapsed_ms = 1000 * (time.perf_counter() - started)
        return ScoredImage(made.score, made.pixels, elapsed_ms, made.by_zone)
