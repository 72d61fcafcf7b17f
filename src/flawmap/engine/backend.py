"""Scoring in torch as a runtime's backend, for methods without a graph and before a save."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from threading import Lock

import torch

from flawmap.runtime.backend import ScoredImage
from flawmap.runtime.image_types import Preprocessed
from flawmap.support.tensors import Images, Scores


class TorchBackend:
    """Scores one image after the other in torch; safe in any number of threads.

    One thread computes at a time, for torch uses all cores for each image, and a method makes its
    head and its engine on first use.

    Args:
        score: image scores and anomaly maps of a batch, as `Method.score`.

    Example:
        >>> backend = TorchBackend(lambda images: Scores(images.amax((1, 2, 3)), images[:, 0]))
        >>> scored = next(backend.score_many([np.ones((3, 8, 8), np.float32)], throughput=False))
        >>> scored.score, scored.distances.shape
        (1.0, (8, 8))
    """

    def __init__(self, score: Callable[[Images], Scores]) -> None:
        self._score = score
        self._lock = Lock()

    def score_many(
        self, images: Iterable[Preprocessed], *, throughput: bool
    ) -> Iterator[ScoredImage]:
        """Score and anomaly map of each image, in order.

        Args:
            images: (3, height, width) each, preprocessed.
            throughput: without effect.
        """
        del throughput
        for image in images:
            with self._lock:
                started = time.perf_counter()
                scores = self._score(torch.from_numpy(image[None]))
                elapsed_ms = 1000 * (time.perf_counter() - started)
            yield ScoredImage(float(scores.image[0]), scores.pixel[0].numpy(), elapsed_ms)
