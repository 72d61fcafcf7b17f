"""Where the time goes: of one image and of building the bank, section by section, for each line.

The sections of an image are graphs of their own here, so that each can be timed; `whole` is the one
graph that a saved inspector runs. On a GPU torch runs them, and the clock waits for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import openvino
import torch
from torch import Tensor, nn

from flawmap.data.layouts import good_training_samples, labelled_test_samples
from flawmap.engine.batches import Batches
from flawmap.engine.convert import FixedSizeHead, append_head, to_openvino
from flawmap.engine.run import best_device
from flawmap.errors import OptionError
from flawmap.experiments.study import MethodSetup, StudyConfig
from flawmap.features.patches import PatchEmbedder
from flawmap.methods.patchcore import PatchCore
from flawmap.methods.patchcore_head import PatchCoreHead
from flawmap.runtime.graph import GraphRunner
from flawmap.runtime.image_types import Preprocessed
from flawmap.runtime.images.decode import decode
from flawmap.runtime.preprocess import Preprocessing
from flawmap.support.progress import track

WARM_UP, TIMED_IMAGES = 10, 100
"""Images before the clock counts, and those that it counts."""

_IMAGE_SECTIONS = ("decode", "network", "embedding", "reduction", "search", "whole")
"""Of an image. `search` includes map and score; `whole` is all but `decode`, in one graph."""

_TimedSection = Callable[[list[np.ndarray]], list[np.ndarray]]
"""Arrays of one image in, arrays out: the inputs of the next section."""


@dataclass(frozen=True)
class LineTimings:
    """What was measured of one line.

    Args:
        image: median and 95th percentile of each section, in milliseconds, one image at a time.
        bank: seconds that each section of building the bank took: `features` (decoding, network
            and embedding, several images at once), `reduction` and `coreset`.
        size: vectors in the bank, and numbers in each.
    """

    image: dict[str, tuple[float, float]]
    bank: dict[str, float]
    size: tuple[int, int]


def measure_times(
    study: StudyConfig,
    setups: Sequence[MethodSetup],
    product: str,
    *,
    warm_up: int = WARM_UP,
    num_images: int = TIMED_IMAGES,
    clock: Callable[[], float] = time.perf_counter,
) -> list[LineTimings]:
    """The timings of all setups on one product; no backbone is fine-tuned, which changes no time.

    Args:
        study: where the products are, and the images' size.
        setups: relatives of PatchCore.
        product: name of the product whose images are timed.
        warm_up: images before those that count.
        num_images: images that count.
        clock: seconds since some moment.

    Raises:
        OptionError: one of the setups is no relative of PatchCore.
    """
    folder = study.products[product]
    paths = [sample.path for sample in labelled_test_samples(folder)]
    subjects = [
        _Subject(study, setup, folder, clock)
        for setup in track(setups, "building banks", len(setups))
    ]
    elapsed: list[list[dict[str, float]]] = [[] for _ in setups]
    count = warm_up + num_images
    for number, path in enumerate(track(islice(cycle(paths), count), "timing images", count)):
        # In turn, so that whatever else the machine does falls on all of them.
        for subject, of_subject in zip(subjects, elapsed, strict=True):
            elapsed_ms = dict(subject.score(path))
            if number >= warm_up:
                of_subject.append(elapsed_ms)
    return [
        LineTimings(_summary(of_subject), subject.bank, subject.size)
        for subject, of_subject in zip(subjects, elapsed, strict=True)
    ]


class _Subject:
    """A method with its bank, cut into sections."""

    def __init__(
        self,
        study: StudyConfig,
        setup: MethodSetup,
        folder: Path,
        clock: Callable[[], float],
    ) -> None:
        self._clock = clock
        method = study.method(setup, 0)
        if not isinstance(method, PatchCore):
            raise OptionError(
                f"{setup.method} has no bank to be timed; use a relative of PatchCore"
            )
        height, width = study.size
        backbone = method.feature_extractor
        self.preprocessing = Preprocessing(height, width, backbone.mean, backbone.std)
        paths = [sample.path for sample in good_training_samples(folder)]
        self.bank = _build(method, Batches(paths, self.preprocessing), clock)
        vectors = method.fitted_state()["bank.vectors"]
        self.size = len(vectors), vectors.shape[1]
        self.sections: dict[str, _TimedSection] = {}
        tensors = [torch.zeros(1, 3, height, width)]
        for name, module in _modules(method, height, width).items():
            self.sections[name], tensors = _start(module.eval(), tensors)
        self.full_graph = _full_graph(method, height, width)

    def score(self, path: Path) -> Iterator[tuple[str, float]]:
        """Score an image; each section with the milliseconds that it took."""
        started = self._clock()
        image = self.preprocessing(decode(path))
        yield "decode", self._since(started)
        arrays = [image[None]]
        for name, section in self.sections.items():
            started = self._clock()
            arrays = section(arrays)
            yield name, self._since(started)
        started = self._clock()
        self.full_graph(image)
        yield "whole", self._since(started)

    def _since(self, started: float) -> float:
        return 1000 * (self._clock() - started)


def _modules(method: PatchCore, height: int, width: int) -> dict[str, nn.Module]:
    """The sections from the network to the score; each takes what the one before it gives."""
    encoder = method.encoder()
    head = method.head()
    search = PatchCoreHead(nn.Identity(), head.bank, head.image_rule, head.pixel_map)
    return {
        "network": _Network(encoder.embedding),
        "embedding": _EmbedMaps(encoder.embedding),
        "reduction": nn.Sequential(encoder.reduction, head.reduction),
        "search": FixedSizeHead(search, height, width),
    }


class _Network(nn.Module):
    """The backbone of an embedder, as a module that gives a tuple."""

    def __init__(self, embedder: PatchEmbedder) -> None:
        super().__init__()
        self.backbone = embedder.backbone

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.backbone(images))


class _EmbedMaps(nn.Module):
    """An embedder behind its backbone."""

    def __init__(self, embedder: PatchEmbedder) -> None:
        super().__init__()
        self.embedder = embedder

    def forward(self, *maps: Tensor) -> Tensor:
        return self.embedder.embed_maps(maps)


def _build(method: PatchCore, batches: Batches, clock: Callable[[], float]) -> dict[str, float]:
    """Fit the method; the seconds that each section took."""
    started = clock()
    shard = method.extract(batches)
    extracted = clock()
    method.fit_shards([shard])
    fitted = clock()
    # Once more without the search for the coreset, which is the rest.
    method.reduction.fit(shard["grid"].flatten(0, 2))
    reduction = clock() - fitted
    return {
        "features": extracted - started,
        "reduction": reduction,
        "coreset": fitted - extracted - reduction,
    }


def _start(module: nn.Module, examples: list[Tensor]) -> tuple[_TimedSection, list[Tensor]]:
    """A module made ready to be timed, and its outputs for the examples."""
    device = best_device()
    with torch.inference_mode():
        outputs = _as_tuple(module.to(device)(*(example.to(device) for example in examples)))
    next_examples = [output.cpu().clone() for output in outputs]
    if device.type == "cuda":
        return _in_torch(module, device), next_examples
    if isinstance(module, nn.Sequential) and all(isinstance(part, nn.Identity) for part in module):
        return (lambda arrays: arrays), next_examples
    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    model = to_openvino(module, *examples)
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()

    def run(arrays: list[np.ndarray]) -> list[np.ndarray]:
        request.infer(arrays)
        return [tensor.data for tensor in request.output_tensors]

    return run, next_examples


def _in_torch(module: nn.Module, device: torch.device) -> _TimedSection:
    def run(arrays: list[np.ndarray]) -> list[np.ndarray]:
        with torch.inference_mode():
            outputs = module(*(torch.from_numpy(array).to(device) for array in arrays))
            torch.cuda.synchronize()
        return [output.cpu().numpy() for output in _as_tuple(outputs)]

    return run


def _as_tuple(outputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _full_graph(method: PatchCore, height: int, width: int) -> Callable[[Preprocessed], object]:
    """All of scoring as a saved inspector runs it."""
    if best_device().type == "cuda":
        run = _in_torch(method.scoring_module(), best_device())
        return lambda image: run([image[None]])
    head = method.exportable_head()
    graph = append_head(method.encoder_runner.graph(height, width), head, height, width)
    return GraphRunner(graph)


def _summary(elapsed: list[dict[str, float]]) -> dict[str, tuple[float, float]]:
    """Median and 95th percentile of each section."""
    summary = {}
    for section in _IMAGE_SECTIONS:
        milliseconds = [of_image[section] for of_image in elapsed]
        late = float(np.quantile(milliseconds, 0.95))
        summary[section] = float(np.median(milliseconds)), late
    return summary
