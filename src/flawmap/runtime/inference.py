"""Inspection of images with a saved inspector: NumPy, OpenCV and OpenVINO, without torch."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sized
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Protocol, get_args, runtime_checkable

import numpy as np

from flawmap.errors import BundleError, ImageError, NotExportable, NotPicklable, OptionError
from flawmap.runtime import bundle, graph
from flawmap.runtime.backend import GraphBackend, ScoredImage, ScoringBackend
from flawmap.runtime.bundle import Manifest
from flawmap.runtime.calibration import Calibration
from flawmap.runtime.certificate import Certificate
from flawmap.runtime.graph import Graph, Precision
from flawmap.runtime.graph_check import check_interface
from flawmap.runtime.image_types import ImageArray, ImageInput
from flawmap.runtime.images.decode import DecodedImage, UnreadableImage, decode, decode_ahead
from flawmap.runtime.images.image_input import name_of
from flawmap.runtime.new_bank import BANK_VECTORS
from flawmap.runtime.preprocess import resize
from flawmap.runtime.replaceable_search import has_search, runnable_here
from flawmap.runtime.rounds import Rounds
from flawmap.runtime.saved_bytes import as_path
from flawmap.runtime.tile_backend import TileScorer
from flawmap.runtime.tiles import prepare
from flawmap.runtime.verdict import Heatmap, Verdict
from flawmap.runtime.zone_calibration import ZoneCalibration, calibration_from_arrays
from flawmap.runtime.zone_layout import zone_layout
from flawmap.support.process import HomeProcess, library_call

_MIN_IMAGES_FOR_THROUGHPUT = 16
"""Fewer images are done one by one before several at once are made ready."""

_LARGEST = 1e30
"""Heat maps have no larger values; float32 holds them with room to spare."""


class Inspection(NamedTuple):
    """One image of many with its verdict, or with the reason why there is none.

    Args:
        image_input: the image as it was given.
        verdict: None where the image cannot be used.
        error: why the image cannot be used; None where it can.
        image: the decoded image; None where it cannot be used.
        inference_ms: time from the preprocessed image to the verdict, in milliseconds. Decoding is
            not in it; it runs beside, as other images do where there are many.
        image_sha256: SHA-256 of the file's bytes, 64 hexadecimal digits; empty for an array.
    """

    image_input: ImageInput
    verdict: Verdict | None
    error: ImageError | None
    image: ImageArray | None
    inference_ms: float
    image_sha256: str = ""


class Runtime:
    """Inspects images as the inspector does that was saved; safe in any number of threads.

    Args:
        manifest: settings of the inspector.
        calibration: scores of good images, and the threshold.
        backend: network inputs to scores and maps; with tiles or zones, to distances of patches.
        model_sha256: hash of the saved file; empty where there is none.
        scorer_sha256: hash of all that determines scores; empty where there is no saved file.

    Attributes:
        method_name: name of the method, as the user chose it.
        method_options: all options of the method.
        preprocessing: how images are made ready for the network.
        weights_sha256: fingerprint of the backbone's weights.
        finetune_record: record of the backbone's fine-tuning; None without one.
        calibration: scores of good images, and the threshold.
        fitted_sha256: SHA-256 of every image file that the inspector was fitted to, fine-tuned on
            or calibrated with. To judge such an image says nothing about new parts.
        model_sha256: the file's SHA-256 as it is stored in the file, taken with 64 zeros in its own
            place; so it is not what `sha256sum` prints. Any change of the file changes it, that of
            the threshold too. Empty for an inspector that was not loaded from a file.
        scorer_sha256: SHA-256 of the method's class, options and state, the backbone's weights, the
            preprocessing and the graph; of the precision too where it is not that of the fit. A new
            threshold leaves it as it is, so images with the same hash were scored alike. Not in it:
            calibration, golden images, record of the fine-tuning, versions. Empty for an inspector
            that was not loaded from a file.
        precision: what it computes in; that of the fit where it was not loaded from a file.
        golden_difference: by how much scores and maps of the golden images differed here from where
            the inspector was fitted, as a fraction of the largest; 0 where it was not loaded.

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
        self.fitted_sha256 = frozenset(manifest.fitted_sha256)
        self.model_sha256 = model_sha256
        self.scorer_sha256 = scorer_sha256
        self.precision = manifest.precision
        self.golden_difference = 0.0
        self._scorer = _scorer(manifest, backend)
        self._home = HomeProcess("the inspector")

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
        manifest, arrays, sha256 = bundle.load(as_path(file))
        if manifest.no_graph_reason:
            raise NotExportable(f"{file}: {manifest.no_graph_reason}")
        with bundle.refusals_named(file, _openvino_refuses(manifest)):
            model = _graph(arrays)
            check_interface(model.model, manifest.preprocessing)
            backend = GraphBackend(model, choose_precision(precision, manifest))
            calibration = calibration_from_arrays(manifest.calibration, arrays)
            certificate = Certificate.from_arrays(arrays)
            difference = backend.check_certificate(certificate, manifest.preprocessing, str(file))
        runtime = cls(
            manifest,
            calibration,
            backend,
            model_sha256=sha256,
            scorer_sha256=manifest.scorer_sha256_in(backend.precision),
        )
        runtime.precision, runtime.golden_difference = backend.precision, difference
        return runtime

    def __reduce__(self) -> NoReturn:
        raise NotPicklable(
            "a loaded inspector cannot be pickled or copied, since it holds what OpenVINO or torch "
            "compiled here; give the other process the path of the file, and load that there"
        )

    def inspect(self, image_input: ImageInput) -> Verdict:
        """Inspect one image.

        Args:
            image_input: a path, the bytes of a file, an open file, an array (height, width
                [, 1 | 3 | 4]) in RGB order, a Pillow image or a torch tensor; see `decode`.

        Returns:
            Score, p-value, verdict and heat map, in the image's own size.

        Raises:
            ImageError: the image cannot be used.
            ForkError: this process was forked after the inspector was loaded.
        """
        self._home.check()
        with library_call():
            image = decode(image_input, self.preprocessing.white)
            try:
                network_input = prepare(image, self.preprocessing)
            except ImageError as error:
                raise ImageError(f"{name_of(image_input)}: {error}") from error
            scored = next(self._scorer.score_many([network_input], throughput=False))
            return self._verdict(scored, image)

    def inspect_many(self, image_inputs: Iterable[ImageInput]) -> Iterator[Inspection]:
        """Inspect many images, in order; decoding and scoring of different images run in parallel.

        Several iterators of one runtime may be used in turn or in several threads, and an iterator
        may be left half-way.

        Args:
            image_inputs: images as `inspect` takes them. Where they have a length, a few are
                computed one by one; else several are computed at once.

        Returns:
            One inspection for each; that of an image that cannot be used holds its error.

        Raises:
            ForkError: this process was forked after the inspector was loaded.
            Exception: what `image_inputs` raised, after the inspections of those before.
        """
        self._home.check()
        count = len(image_inputs) if isinstance(image_inputs, Sized) else math.inf
        return self._inspections(image_inputs, throughput=count >= _MIN_IMAGES_FOR_THROUGHPUT)

    def _inspections(
        self, image_inputs: Iterable[ImageInput], *, throughput: bool
    ) -> Iterator[Inspection]:
        rounds = Rounds(decode_ahead(image_inputs, self.preprocessing))
        while not rounds.is_over:
            inputs = rounds.network_inputs()
            for scored in self._scorer.score_many(inputs, throughput=throughput):
                yield from map(_unusable, rounds.take_unreadable())
                # In no variable, which would hold the image while the next one is inspected.
                yield self._inspection(scored, rounds.take())
                self._home.check()
            yield from map(_unusable, rounds.take_unreadable())
        rounds.raise_failure()

    def _inspection(self, scored: ScoredImage, loaded: DecodedImage) -> Inspection:
        started = time.perf_counter()
        try:
            with library_call():
                verdict = self._verdict(scored, loaded.image)
        except ImageError as error:
            return _unusable(UnreadableImage(loaded.image_input, error, loaded.sha256))
        elapsed_ms = scored.inference_ms + 1000 * (time.perf_counter() - started)
        return Inspection(
            loaded.image_input, verdict, None, loaded.image, elapsed_ms, loaded.sha256
        )

    def _verdict(self, scored: ScoredImage, image: ImageArray) -> Verdict:
        height, width = image.shape[:2]
        place = self.preprocessing.placement(height, width)
        # A value that no float holds would compare as good.
        largest = float(scored.distances.max()) / self.calibration.map_limit
        if not (math.isfinite(scored.score) and largest < _LARGEST):
            raise ImageError(
                f"cannot be scored: its score is {scored.score:g}, its largest distance "
                f"{float(scored.distances.max()):g}; fit again, or use precision f32"
            )
        cut = scored.distances
        if self.preprocessing.tile_overlap is None:
            cut = cut[: place.height, : place.width]
        # In place unless it has its size already: of a large image it takes four bytes a pixel.
        heatmap: Heatmap = np.array(resize(cut, height, width), np.float32, copy=None)
        counting = self.preprocessing.counting(height, width)
        if isinstance(self.calibration, ZoneCalibration):
            layout = zone_layout(self.preprocessing, height, width)
            layout.divide(heatmap, self.calibration.map_limits)
            by_zone = self.calibration.verdicts(scored.by_zone)
            return Verdict.of_zones(by_zone, heatmap, counting)
        into = None if cut.shape == heatmap.shape else heatmap
        heatmap = np.divide(heatmap, np.float32(self.calibration.map_limit), out=into)
        if counting is not None:
            heatmap *= counting
        p_value = self.calibration.p_value(scored.score)
        reject = self.calibration.rejects(scored.score)
        return Verdict(scored.score, p_value, reject, heatmap, counting)


@runtime_checkable
class _ImageScorer(Protocol):
    """Scores images, whole ones or tiles, as the preprocessing makes them ready."""

    def score_many(self, images: Iterable[Any], *, throughput: bool) -> Iterator[ScoredImage]: ...


def _scorer(manifest: Manifest, backend: ScoringBackend) -> _ImageScorer:
    if manifest.patch_scoring is None:
        return backend
    return TileScorer(backend, manifest.patch_scoring, manifest.preprocessing)


def _graph(arrays: Mapping[str, np.ndarray]) -> Graph:
    """The graph in a saved file, whose search this machine can run."""
    loaded = Graph.from_arrays(arrays)
    return runnable_here(loaded, arrays[BANK_VECTORS]) if has_search(loaded) else loaded


def _openvino_refuses(manifest: Manifest) -> str:
    written_by = manifest.libraries.get("openvino", "?")
    return f"OpenVINO {version('openvino')} refuses the graph that OpenVINO {written_by} wrote"


def choose_precision(requested: Precision | None, manifest: Manifest) -> Precision:
    """The precision that a saved inspector computes in on this machine.

    Args:
        requested: what to compute in; None for that of the fit.
        manifest: of the saved inspector.

    Raises:
        BundleError: it was fitted in a precision that is not known.
        OptionError: there is no such precision, or it was fitted for int8 or for anything but int8,
            and cannot be run otherwise.
    """
    fitted = manifest.precision
    if fitted not in get_args(Precision):
        raise BundleError(f"was fitted in the unknown precision {fitted!r}; fit again")
    precision = graph.check_precision(requested or fitted)
    if precision != fitted and "int8" in (precision, fitted):
        raise OptionError(
            f"this was fitted in {fitted} and cannot run in {precision}; fit with --precision "
            f"{precision}"
        )
    return graph.supported_precision(precision)


def _unusable(loaded: UnreadableImage) -> Inspection:
    return Inspection(loaded.image_input, None, loaded.error, None, 0.0, loaded.sha256)
