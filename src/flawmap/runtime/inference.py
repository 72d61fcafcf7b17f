"""What stands beside the line.

A saved inspector that judges with numpy, OpenCV and OpenVINO, without torch.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sized
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from flawmap.errors import BundleError, FlawmapError, ImageError, NotExportable, OptionError
from flawmap.runtime import bundle, graph
from flawmap.runtime.calibration import Calibration
from flawmap.runtime.certificate import MACHINE_TOLERANCE, Certificate
from flawmap.runtime.decode import DecodedImage, UnreadableImage, decode, decode_ahead
from flawmap.runtime.graph import Graph, GraphRunner, Precision
from flawmap.runtime.preprocess import ImageArray, ImageInput, Preprocessed, Preprocessing, resize
from flawmap.runtime.verdict import Heatmap, Verdict

NO_GRAPH_KEY = "no_graph_reason"
"""The entry of the manifest that says why there is none."""

GRAPH_PREFIXES = ("graph.", "golden.")
"""Begin the names of the arrays that the graph and its certificate take."""

MIN_IMAGES_FOR_THROUGHPUT = 16
"""Images; fewer are done one by one, before several at once are made ready."""


class Inspection(NamedTuple):
    """One image of many, and what came of it: a verdict, or the reason why there is none."""

    image_input: ImageInput
    verdict: Verdict | None
    error: ImageError | None
    image: ImageArray | None
    inference_ms: float
    """From the prepared image to the verdict.

    Decoding runs beside it, and other images where there are many.
    """
    image_sha256: str = ""
    """Of the file's bytes, 64 hexadecimal digits; empty for an array."""


class ScoredImage(NamedTuple):
    """What a scorer says of one image."""

    score: float
    distances: np.ndarray
    """(height, width) of the network's input."""
    inference_ms: float


@runtime_checkable
class ScoringBackend(Protocol):
    """Scores prepared images, in order."""

    def __call__(
        self, images: Iterable[Preprocessed], *, many: bool = False
    ) -> Iterator[ScoredImage]:
        """Score them; where there are many, several at once."""
        ...


class Runtime:
    """Judges images as the inspector does that was saved.

    Args:
        manifest: what the saved file says of it: `name`, `method`, `options`, `preparation`,
            `weights`, `tuning`.
        calibration: what good parts score.
        scorer: prepared images to scores and maps.

    Attributes:
        name: of the method, as it was asked for.
        options: of the method.
        weights: the fingerprint of the backbone's.
        tuning: the record of its fine-tuning; None without one.

    Example::

        runtime = flawmap.load("part.flawmap")
        verdict = runtime.inspect("new.png")
    """

    def __init__(
        self, manifest: Mapping[str, Any], calibration: Calibration, scorer: ScoringBackend
    ) -> None:
        self.method_name: str = manifest["name"]
        self.method_options: dict[str, Any] = manifest["options"]
        self.preprocessing = Preprocessing.from_dict(manifest["preprocessing"])
        self.weights_sha256: str = manifest["weights"]
        self.finetune_record: dict[str, Any] | None = manifest["finetuning"]
        self.calibration = calibration
        self._scorer = scorer

    @classmethod
    def load(cls, file: str | Path, precision: Precision | None = None) -> Runtime:
        """Open a saved inspector, and check that it scores here as where it was fitted.

        Args:
            file: what `flawmap fit` or `Inspector.save` wrote.
            precision: what to compute in; None for that of the fit. On a CPU without bf16 that is
                f32, with a warning.

        Raises:
            BundleError: damaged, not a saved inspector, or from a newer flawmap.
            NotExportable: it holds no graph, for its method cannot be one; `Inspector.load` runs it
                in torch.
            OptionError: no such precision, or not one for what was fitted in int8 or is to run in
                it.
            ParityError: it scores otherwise here.
        """
        manifest, arrays = bundle.load(Path(file))
        try:
            if not Graph.is_in(arrays):
                raise NotExportable(f"{file}: {manifest[NO_GRAPH_KEY]}")
            scorer = GraphBackend(
                Graph.from_arrays(arrays), _choose(precision, manifest["options"]["precision"])
            )
            runtime = cls(manifest, Calibration.from_arrays(manifest, arrays), scorer)
            scorer.check_certificate(
                Certificate.from_arrays(arrays), runtime.preprocessing, str(file)
            )
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, FlawmapError):
                raise
            raise BundleError(
                f"{file}: holds no complete inspector ({error!r}); fit again"
            ) from error
        return runtime

    def inspect(self, image_input: ImageInput) -> Verdict:
        """Judge one image.

        Args:
            image_input: a path, the bytes of a file, or an array
                (height, width[, 1 | 3 | 4]) in RGB order.

        Raises:
            ImageError: the image cannot be used.
        """
        pixels = decode(image_input)
        return self._verdict(next(self._scorer([self.preprocessing(pixels)])), pixels)

    def inspect_many(self, image_inputs: Iterable[ImageInput]) -> Iterator[Inspection]:
        """Judge many images, in order.

        Those that cannot be used are among the results with their error.

        Decoding, network and search of different images go on beside each other.
        """
        waiting: deque[DecodedImage | UnreadableImage] = deque()

        def prepared() -> Iterator[Preprocessed]:
            for loaded in decode_ahead(image_inputs, self.preprocessing):
                waiting.append(loaded)
                if isinstance(loaded, DecodedImage):
                    yield loaded.preprocessed

        many = not isinstance(image_inputs, Sized) or len(image_inputs) >= MIN_IMAGES_FOR_THROUGHPUT
        for scored in self._scorer(prepared(), many=many):
            while isinstance(loaded := waiting.popleft(), UnreadableImage):
                yield _unusable(loaded)
            started = time.perf_counter()
            verdict = self._verdict(scored, loaded.image)
            taken = scored.inference_ms + 1000 * (time.perf_counter() - started)
            yield Inspection(loaded.image_input, verdict, None, loaded.image, taken, loaded.sha256)
        yield from (_unusable(loaded) for loaded in waiting if isinstance(loaded, UnreadableImage))

    def _verdict(self, scored: ScoredImage, pixels: ImageArray) -> Verdict:
        calibration, (height, width) = self.calibration, pixels.shape[:2]
        heatmap: Heatmap = np.asarray(
            resize(scored.distances, height, width) / np.float32(calibration.map_limit)
        )
        return Verdict(
            scored.score,
            calibration.p_value(scored.score),
            calibration.rejects(scored.score),
            heatmap,
        )


class GraphBackend:
    """Scores by the graph in a saved file.

    Args:
        graph: of the whole scorer.
        precision: what this machine computes in.
    """

    def __init__(self, graph: Graph, precision: Precision) -> None:
        self.graph, self.precision = graph, precision
        self._one = GraphRunner(graph, precision)
        self._many: GraphRunner | None = None

    def __call__(
        self, images: Iterable[Preprocessed], *, many: bool = False
    ) -> Iterator[ScoredImage]:
        """Score prepared images, in order."""
        if many and self._many is None:
            self._many = GraphRunner(self.graph, self.precision, throughput=True)
        runner = self._many if many and self._many else self._one
        for (score, distances), milliseconds in runner.run_many(images):
            yield ScoredImage(float(score[0]), distances[0], milliseconds)

    def check_certificate(
        self, certificate: Certificate, preprocessing: Preprocessing, file: str
    ) -> None:
        """Score the golden images.

        Raises:
            ParityError: they come out otherwise than where they were made.
        """
        where = f"{file}, in {self.precision} on this machine"
        certificate.check(preprocessing, self.score, MACHINE_TOLERANCE[self.precision], where)

    def score(self, image: Preprocessed) -> tuple[float, np.ndarray]:
        """Score one."""
        scored = next(self([image]))
        return scored.score, scored.distances


def _choose(asked: Precision | None, fitted: Precision) -> Precision:
    if asked is None:
        return graph.supported_precision(fitted)
    graph.check_precision(asked)
    if asked != fitted and "int8" in (asked, fitted):
        raise OptionError(
            f"this was fitted in {fitted} and cannot run in {asked}; fit with --precision {asked}"
        )
    return graph.supported_precision(asked)


def _unusable(loaded: UnreadableImage) -> Inspection:
    return Inspection(loaded.image_input, None, loaded.error, None, 0.0, loaded.sha256)
