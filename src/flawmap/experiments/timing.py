"""Where the time goes: of one picture and of building the bank, part by part, all lines of a table in turn.

The parts of a picture are graphs of their own here, so that each can be timed; `whole` is the one graph that a saved
inspector runs. On a GPU torch runs them, and the clock waits for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import torch
from torch import Tensor, nn

from flawmap.data.layouts import good_training_samples, labelled_test_samples
from flawmap.engine.batches import Batches
from flawmap.engine.convert import FixedSizeHead, to_openvino
from flawmap.engine.run import best_device
from flawmap.errors import OptionError
from flawmap.experiments.runs import MethodSetup, StudyConfig
from flawmap.methods.patchcore import PatchCore
from flawmap.runtime.decode import decode
from flawmap.runtime.graph import GraphRunner
from flawmap.runtime.preprocess import Preprocessed, Preprocessing
from flawmap.support.progress import track

WARM_UP, TIMED_IMAGES = 10, 100
"""Pictures before the clock counts, and those that it counts."""

IMAGE_SECTIONS = ("decode", "network", "embedding", "reduction", "search", "whole")
"""Of a picture. `search` includes the map and the score; `whole` is all but `decode`, in one graph."""

BANK_SECTIONS = ("features", "reduction", "coreset")
"""Of a bank. `features` reads, runs the network and embeds, several pictures at once."""

TimedSection = Callable[[list[np.ndarray]], list[np.ndarray]]


@dataclass(frozen=True)
class LineTimings:
    """What was measured of one line.

    Args:
        picture: milliseconds for one picture at a time, of each part: median and 95th percentile.
        bank: seconds to build the bank, of each part.
        size: vectors in the bank, and numbers in each.
    """

    picture: dict[str, tuple[float, float]]
    bank: dict[str, float]
    size: tuple[int, int]


def measure_times(study: StudyConfig, setups: Sequence[MethodSetup], product: str) -> list[LineTimings]:
    """Measure all setups on a product. Their backbones are not fine-tuned, which changes no time.

    Raises:
        OptionError: one of them is no relative of PatchCore.
    """
    place = study.products[product]
    pictures = [sample.path for sample in labelled_test_samples(place)]
    subjects = [_Subject(study, setup, place) for setup in track(setups, "building banks", len(setups))]
    taken: list[list[dict[str, float]]] = [[] for _ in setups]
    for number, path in enumerate(track(islice(cycle(pictures), WARM_UP + TIMED_IMAGES), "timing pictures", WARM_UP + TIMED_IMAGES)):
        # In turn, so that whatever else the machine does falls on all of them.
        for subject, found in zip(subjects, taken, strict=True):
            times = dict(subject.judge(path))
            if number >= WARM_UP:
                found.append(times)
    return [LineTimings(_summary(found), one.bank, one.size) for one, found in zip(subjects, taken, strict=True)]


class _Subject:
    """A method with its bank, cut into parts."""

    def __init__(self, study: StudyConfig, setup: MethodSetup, place: Path) -> None:
        method = study.method(setup, 0)
        if not isinstance(method, PatchCore):
            raise OptionError(f"{setup.method} has no bank to be timed; use a relative of PatchCore")
        height, width = study.size
        self.preparation = Preprocessing(height, width, method.feature_extractor.mean, method.feature_extractor.std)
        self.bank = _build(method, Batches([sample.path for sample in good_training_samples(place)], self.preparation))
        vectors = method.fitted_state()["bank.vectors"]
        self.size = len(vectors), vectors.shape[1]
        encoder, judge = method.encoder(), method.head()
        search = type(judge)(nn.Identity(), judge.bank, judge.image_score, judge.pixel_map)
        reduction = nn.Sequential(encoder.reduction, judge.reduction)
        modules = {
            "network": _Tuple(encoder.embedding.backbone),
            "embedding": _Treat(encoder.embedding),
            "reduction": reduction,
            "search": FixedSizeHead(search, height, width),
        }
        self.parts: dict[str, TimedSection] = {}
        tensors = [torch.zeros(1, 3, height, width)]
        for name, module in modules.items():
            self.parts[name], tensors = _start(module.eval(), tensors)
        self.whole = _whole(method, height, width)

    def judge(self, path: Path) -> Iterator[tuple[str, float]]:
        """Judge a picture, and say how many milliseconds each part took."""
        started = time.perf_counter()
        prepared = self.preparation(decode(path))
        yield "decode", _since(started)
        arrays = [prepared[None]]
        for name, part in self.parts.items():
            started = time.perf_counter()
            arrays = part(arrays)
            yield name, _since(started)
        started = time.perf_counter()
        self.whole(prepared)
        yield "whole", _since(started)


class _Tuple(nn.Module):
    """A module that gives a list, as one that gives a tuple."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.module(images))


class _Treat(nn.Module):
    """The part of an embedding behind the network."""

    def __init__(self, embedding: Any) -> None:
        super().__init__()
        self.embedding = embedding

    def forward(self, *maps: Tensor) -> Tensor:
        grid: Tensor = self.embedding.treat(maps)
        return grid


def _build(method: PatchCore, batches: Batches) -> dict[str, float]:
    started = time.perf_counter()
    part = method.extract(batches)
    gathered = time.perf_counter()
    method.fit_shards([part])
    settled = time.perf_counter()
    # Once more without the search for the coreset, which is the rest.
    method.reduce(part["grid"].flatten(0, 2))
    reduced = time.perf_counter() - settled
    return {
        "features": gathered - started,
        "reduction": reduced,
        "coreset": settled - gathered - reduced,
    }


def _start(module: nn.Module, examples: list[Tensor]) -> tuple[TimedSection, list[Tensor]]:
    """Make a module ready; gives it, and what it makes of the examples."""
    device = best_device()
    with torch.inference_mode():
        found = module.to(device)(*(example.to(device) for example in examples))
    outputs = [one.cpu().clone() for one in (found if isinstance(found, tuple) else (found,))]
    if device.type == "cuda":
        return _in_torch(module, device), outputs
    if isinstance(module, nn.Sequential) and all(isinstance(one, nn.Identity) for one in module):
        return (lambda arrays: arrays), outputs
    compiled = openvino.Core().compile_model(
        to_openvino(module, *examples), "CPU", {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    )
    request = compiled.create_infer_request()

    def run(arrays: list[np.ndarray]) -> list[np.ndarray]:
        request.infer(arrays)
        return [tensor.data for tensor in request.output_tensors]

    return run, outputs


def _in_torch(module: nn.Module, device: torch.device) -> TimedSection:
    def run(arrays: list[np.ndarray]) -> list[np.ndarray]:
        with torch.inference_mode():
            found = module(*(torch.from_numpy(array).to(device) for array in arrays))
            torch.cuda.synchronize()
        return [one.cpu().numpy() for one in (found if isinstance(found, tuple) else (found,))]

    return run


def _whole(method: PatchCore, height: int, width: int) -> Callable[[Preprocessed], object]:
    if best_device().type == "cuda":
        run = _in_torch(method.scoring_module(), best_device())
        return lambda picture: run([picture[None]])
    return GraphRunner(method.graph(height, width))


def _summary(found: list[dict[str, float]]) -> dict[str, tuple[float, float]]:
    return {
        part: (float(np.median(taken)), float(np.quantile(taken, 0.95)))
        for part in IMAGE_SECTIONS
        for taken in [[one[part] for one in found]]
    }


def _since(started: float) -> float:
    return 1000 * (time.perf_counter() - started)
