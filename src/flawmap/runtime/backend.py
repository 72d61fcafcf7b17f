"""What scores preprocessed images for a runtime: a graph here, torch in `flawmap.engine`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from threading import Lock
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from flawmap.runtime.certificate import Certificate
from flawmap.runtime.graph import Graph, GraphRunner, Precision
from flawmap.runtime.image_types import Preprocessed
from flawmap.runtime.preprocess import Preprocessing

MACHINE_TOLERANCE: dict[Precision, float] = {"f32": 1e-3, "bf16": 0.15, "int8": 0.05}
"""Largest accepted difference of this machine from the one that fitted, as a fraction of the
largest value.
"""


class ScoredImage(NamedTuple):
    """What a backend returns for one image.

    Args:
        score: the image score, >= 0.
        distances: the anomaly map, (height, width) of the network's input, >= 0.
        inference_ms: time that it took, in milliseconds.
        by_zone: the score of each zone; empty without zones.
    """

    score: float
    distances: np.ndarray
    inference_ms: float
    by_zone: tuple[float, ...] = ()


@runtime_checkable
class ScoringBackend(Protocol):
    """Scores preprocessed images; safe in any number of threads."""

    def score_many(
        self, images: Iterable[Preprocessed], *, throughput: bool
    ) -> Iterator[ScoredImage]:
        """Score and anomaly map of each image, in order.

        Args:
            images: (3, height, width) each, preprocessed.
            throughput: whether several images are computed at once, where the backend can.
        """
        ...


class GraphBackend:
    """Scores by a graph of encoder and head; safe in any number of threads.

    Args:
        graph: images to scores and anomaly maps.
        precision: what this machine computes in.
    """

    def __init__(self, graph: Graph, precision: Precision) -> None:
        self.precision = precision
        self._graph = graph
        self._one_by_one = GraphRunner(graph, precision)
        self._several: GraphRunner | None = None
        self._lock = Lock()

    def score_many(
        self, images: Iterable[Preprocessed], *, throughput: bool
    ) -> Iterator[ScoredImage]:
        """Score and anomaly map of each image, in order.

        Args:
            images: (3, height, width) each, preprocessed.
            throughput: whether several images are computed at once.
        """
        runner = self._throughput_runner() if throughput else self._one_by_one
        for (score, distances), elapsed_ms in runner.run_many(images):
            yield ScoredImage(float(score[0]), distances[0], elapsed_ms)

    def score(self, image: Preprocessed) -> tuple[float, np.ndarray]:
        """Score and anomaly map of one image.

        Args:
            image: (3, height, width), preprocessed.
        """
        scored = next(self.score_many([image], throughput=False))
        return scored.score, scored.distances

    def check_certificate(
        self, certificate: Certificate, preprocessing: Preprocessing, file: str
    ) -> float:
        """Score the golden images, and compare with what they scored where they were made.

        Args:
            certificate: the golden images with their scores and maps.
            preprocessing: of the graph's input.
            file: that they are from, for the message.

        Returns:
            The largest difference, as a fraction of the largest score or map value.

        Raises:
            ParityError: they score otherwise here.
        """
        where = f"{file}, in {self.precision} on this machine"
        tolerance = MACHINE_TOLERANCE[self.precision]
        return certificate.check(preprocessing, self.score, tolerance, where)

    def _throughput_runner(self) -> GraphRunner:
        """The graph compiled for several images at once, on first use."""
        with self._lock:
            if self._several is None:
                self._several = GraphRunner(self._graph, self.precision, throughput=True)
            return self._several
