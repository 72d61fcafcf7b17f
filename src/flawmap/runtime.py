"""What stands beside the line: a saved inspector that judges with numpy, OpenCV and OpenVINO, without torch."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sized
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from flawmap import bundle, graph
from flawmap.calibration import Calibration
from flawmap.certificate import ALLOWED, Certificate
from flawmap.data.reading import Picture, Unreadable, read_ahead
from flawmap.errors import BundleError, FlawmapError, NotExportable, OptionError, PictureError
from flawmap.graph import Graph, Precision, Runner
from flawmap.prepare import Photo, Pixels, Preparation, Prepared, read, resize
from flawmap.verdict import Heatmap, Verdict

NO_GRAPH = "no graph"
"""The entry of the manifest that says why there is none."""

OF_GRAPH = ("graph.", "golden.")
"""Begin the names of the arrays that the graph and its certificate take."""

FEW = 16
"""Pictures; fewer are done one by one, before several at once are made ready."""


class Inspection(NamedTuple):
    """One picture of many, and what came of it: a verdict, or the reason why there is none."""

    photo: Photo
    verdict: Verdict | None
    error: PictureError | None
    pixels: Pixels | None
    milliseconds: float
    """From the prepared picture to the verdict; decoding runs beside it, and other pictures where there are many."""


class Scored(NamedTuple):
    """What a scorer says of one picture."""

    score: float
    distances: np.ndarray
    """(height, width) of the network's input."""
    milliseconds: float


@runtime_checkable
class Scorer(Protocol):
    """Scores prepared pictures, in order."""

    def __call__(self, pictures: Iterable[Prepared], *, many: bool = False) -> Iterator[Scored]:
        """Score them; where there are many, several at once."""
        ...


class Runtime:
    """Judges pictures as the inspector does that was saved.

    Args:
        manifest: what the saved file says of it: `name`, `method`, `options`, `preparation`, `weights`, `tuning`.
        calibration: what good parts score.
        scorer: prepared pictures to scores and maps.

    Attributes:
        name: of the method, as it was asked for.
        options: of the method.
        weights: the fingerprint of the backbone's.
        tuning: the record of its fine-tuning; None without one.

    Example::

        runtime = flawmap.load("part.flawmap")
        verdict = runtime.inspect("new.png")
    """

    def __init__(self, manifest: Mapping[str, Any], calibration: Calibration, scorer: Scorer) -> None:
        self.name: str = manifest["name"]
        self.options: dict[str, Any] = manifest["options"]
        self.preparation = Preparation.from_json(manifest["preparation"])
        self.weights: str = manifest["weights"]
        self.tuning: dict[str, Any] | None = manifest["tuning"]
        self.calibration = calibration
        self._scorer = scorer

    @classmethod
    def load(cls, file: str | Path, precision: Precision | None = None) -> Runtime:
        """Open a saved inspector, and prove that it scores on this machine as it did where it learned.

        Args:
            file: what `flawmap fit` or `Inspector.save` wrote.
            precision: what to compute in; None for that of the fit. On a CPU without bf16 that is f32, with a warning.

        Raises:
            BundleError: damaged, not a saved inspector, or from a newer flawmap.
            NotExportable: it holds no graph, for its method cannot be one; `Inspector.load` runs it in torch.
            OptionError: no such precision, or not one for what was fitted in int8 or is to run in it.
            ParityError: it scores otherwise here.
        """
        manifest, arrays = bundle.load(Path(file))
        try:
            if not Graph.is_in(arrays):
                raise NotExportable(f"{file}: {manifest[NO_GRAPH]}")
            scorer = GraphScorer(Graph.from_saved(arrays), _choose(precision, manifest["options"]["precision"]))
            runtime = cls(manifest, Calibration.from_saved(manifest, arrays), scorer)
            scorer.prove(Certificate.from_saved(arrays), runtime.preparation, str(file))
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, FlawmapError):
                raise
            raise BundleError(f"{file}: holds no complete inspector ({error!r}); fit again") from error
        return runtime

    def inspect(self, photo: Photo) -> Verdict:
        """Judge one picture.

        Args:
            photo: a path, the bytes of a file, or an array (height, width[, 1 | 3 | 4]) in RGB order.

        Raises:
            PictureError: the picture cannot be used.
        """
        pixels = read(photo)
        return self._verdict(next(self._scorer([self.preparation(pixels)])), pixels)

    def inspect_each(self, photos: Iterable[Photo]) -> Iterator[Inspection]:
        """Judge many pictures, in order; those that cannot be used are among the results with their error.

        Decoding, network and search of different pictures go on beside each other.
        """
        waiting: deque[Picture | Unreadable] = deque()

        def prepared() -> Iterator[Prepared]:
            for loaded in read_ahead(photos, self.preparation):
                waiting.append(loaded)
                if isinstance(loaded, Picture):
                    yield loaded.prepared

        many = not isinstance(photos, Sized) or len(photos) >= FEW
        for scored in self._scorer(prepared(), many=many):
            while isinstance(loaded := waiting.popleft(), Unreadable):
                yield _unusable(loaded)
            started = time.perf_counter()
            verdict = self._verdict(scored, loaded.pixels)
            taken = scored.milliseconds + 1000 * (time.perf_counter() - started)
            yield Inspection(loaded.photo, verdict, None, loaded.pixels, taken)
        yield from (_unusable(loaded) for loaded in waiting if isinstance(loaded, Unreadable))

    def _verdict(self, scored: Scored, pixels: Pixels) -> Verdict:
        calibration, (height, width) = self.calibration, pixels.shape[:2]
        heatmap: Heatmap = np.asarray(resize(scored.distances, height, width) / np.float32(calibration.limit))
        return Verdict(scored.score, calibration.p_value(scored.score), calibration.rejects(scored.score), heatmap)


class GraphScorer:
    """Scores by the graph in a saved file.

    Args:
        graph: of the whole scorer.
        precision: what this machine computes in.
    """

    def __init__(self, graph: Graph, precision: Precision) -> None:
        self.graph, self.precision = graph, precision
        self._one = Runner(graph, precision)
        self._many: Runner | None = None

    def __call__(self, pictures: Iterable[Prepared], *, many: bool = False) -> Iterator[Scored]:
        """Score prepared pictures, in order."""
        if many and self._many is None:
            self._many = Runner(self.graph, self.precision, ahead=True)
        runner = self._many if many and self._many else self._one
        for (score, distances), milliseconds in runner.each(pictures):
            yield Scored(float(score[0]), distances[0], milliseconds)

    def prove(self, certificate: Certificate, preparation: Preparation, file: str) -> None:
        """Score the golden pictures.

        Raises:
            ParityError: they come out otherwise than where they were made.
        """
        where = f"{file}, in {self.precision} on this machine"
        certificate.check(preparation, self.score, ALLOWED[self.precision], where)

    def score(self, picture: Prepared) -> tuple[float, np.ndarray]:
        """Score one."""
        scored = next(self([picture]))
        return scored.score, scored.distances


def _choose(asked: Precision | None, fitted: Precision) -> Precision:
    if asked is None:
        return graph.usable(fitted)
    graph.check(asked)
    if asked != fitted and "int8" in (asked, fitted):
        raise OptionError(f"this was fitted in {fitted} and cannot run in {asked}; fit with --precision {asked}")
    return graph.usable(asked)


def _unusable(loaded: Unreadable) -> Inspection:
    return Inspection(loaded.photo, None, loaded.error, None, 0.0)
