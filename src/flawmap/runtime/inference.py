"""What stands beside the line.

A saved inspector that judges with numpy, OpenCV and OpenVINO, without torch.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sized
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from flawmap.errors import BundleError, ImageError, NotExportable, OptionError
from flawmap.runtime import bundle, graph
from flawmap.runtime.bundle import Manifest
from flawmap.runtime.calibration import Calibration
from flawmap.runtime.certificate import MACHINE_TOLERANCE, Certificate
from flawmap.runtime.decode import DecodedImage, UnreadableImage, decode, decode_ahead
from flawmap.runtime.graph import Graph, GraphRunner, Precision
from flawmap.runtime.preprocess import ImageArray, ImageInput, Preprocessed, Preprocessing, resize
from flawmap.runtime.verdict import Heatmap, Verdict

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
        manifest: settings of the inspector.
        calibration: scores of good images, and the threshold.
        backend: preprocessed images to scores and maps.
        model_sha256: hash of the saved file; empty where there is none.
        scorer_sha256: hash of all that determines scores; empty where there is no saved file.

    Attributes:
        method_name: name of the method, as the user chose it.
        method_options: all options of the method.
        preprocessing: how images are made ready for the network.
        weights_sha256: fingerprint of the backbone's weights.
        finetune_record: record of the backbone's fine-tuning; None without one.
        calibration: scores of good images, and the threshold.
        model_sha256: the file's SHA-256 as it is stored in the file, taken with 64 zeros in its own
            place; so it is not what `sha256sum` prints. Any change of the file changes it, that of
            the threshold too. Empty for an inspector that was not loaded from a file.
        scorer_sha256: SHA-256 of the method's class, options and state, the backbone's weights, the
            preprocessing and the graph; of the precision too where it is not that of the fit. A new
            threshold leaves it as it is, so images with the same hash were scored alike. Not in it:
            calibration, golden images, record of the fine-tuning, versions. Empty for an inspector
            that was not loaded from a file.

    Example::

        runtime = flawmap.load("part.flawmap")
        verdict = runtime.inspect("new.png")
    """

    def __init__(
        self,
        manifest: Manifest,
        calibration: Calibration,
        backend: ScoringBackend,
        *,
        model_sha256: str = "",
        scorer_sha256: str = "",
    ) -> None:
        self.method_name = manifest.method_name
        self.method_options = manifest.method_options
        self.preprocessing = manifest.preprocessing
        self.weights_sha256 = manifest.weights_sha256
        self.finetune_record = manifest.finetuning
        self.calibration = calibration
        self.model_sha256 = model_sha256
        self.scorer_sha256 = scorer_sha256
        self._scorer = backend

    @classmethod
    def load(cls, file: str | Path, precision: Precision | None = None) -> Runtime:
        """Load a saved inspector, after checking that it scores here as where it was fitted.

        Args:
            file: what `flawmap fit` or `Inspector.save` wrote.
            precision: what to compute in; None for that of the fit. On a CPU without bf16 that is
                f32, with a warning.

        Raises:
            BundleError: the file is damaged, no saved inspector, or of another format.
            NotExportable: it holds no graph, because no graph can hold its method;
                `Inspector.load` runs it in torch.
            OptionError: there is no such precision, or the method was fitted for int8 or for
                anything but int8, and cannot be run otherwise.
            ParityError: it scores otherwise here.
        """
        manifest, arrays, sha256 = bundle.load(Path(file))
        if manifest.no_graph_reason:
            raise NotExportable(f"{file}: {manifest.no_graph_reason}")
        try:
            backend = GraphBackend(Graph.from_arrays(arrays), _choose(precision, manifest))
            calibration = Calibration.from_arrays(manifest.calibration, arrays)
            certificate = Certificate.from_arrays(arrays)
        except KeyError as error:
            raise BundleError(
                f"{file}: holds no complete inspector ({error!r}); fit again"
            ) from error
        backend.check_certificate(certificate, manifest.preprocessing, str(file))
        scorer_sha256 = manifest.scorer_sha256_in(backend.precision)
        return cls(manifest, calibration, backend, model_sha256=sha256, scorer_sha256=scorer_sha256)

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


def _choose(requested: Precision | None, manifest: Manifest) -> Precision:
    fitted = manifest.precision
    precision = graph.check_precision(requested or fitted)
    if precision != fitted and "int8" in (precision, fitted):
        raise OptionError(
            f"this was fitted in {fitted} and cannot run in {precision}; fit with --precision "
            f"{precision}"
        )
    return graph.supported_precision(precision)


def _unusable(loaded: UnreadableImage) -> Inspection:
    return Inspection(loaded.image_input, None, loaded.error, None, 0.0, loaded.sha256)
