"""Runs a network on this machine as fast as it can: OpenVINO on a CPU, torch on a GPU.

Measured on two cores at 224×224, to layer 3: EfficientNet-Lite0 29 ms a picture in torch, 3.4 in OpenVINO; ResNet-18 19
and 13. Converting takes seconds, so a graph is kept for as long as the process lives: the next method with the same
encoder, or the saved file, finds it made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn

from flawmap.engine.convert import to_openvino
from flawmap.engine.quantise import QUANTISATION_IMAGES, quantise
from flawmap.errors import NotExportable
from flawmap.runtime import graph
from flawmap.runtime.graph import Graph, GraphRunner, Precision
from flawmap.support.progress import emit
from flawmap.support.tensors import Images

Engine = Callable[[Images], list[Tensor]]
"""Encodes a batch; gives tensors on the CPU, a picture's along the first axis."""


def make_engine(encoder: nn.Module, key: str, precision: Precision, images: Iterable[Tensor]) -> Engine:
    """Make an encoder ready.

    Args:
        encoder: pictures to a list of tensors.
        key: says all that tells it from other encoders, its weights too.
        precision: what it computes in. Int8 is for CPUs, and so runs on one beside a GPU too.
        pictures: good ones, prepared, by which it is quantised in int8.
    """
    if torch.cuda.is_available() and precision != "int8":
        return TorchEngine(encoder, precision)
    return OpenVINOEngine(encoder.cpu(), key, graph.supported_precision(precision), images)


class TorchEngine:
    """Runs an encoder in torch, where it is."""

    def __init__(self, encoder: nn.Module, precision: Precision) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.encoder, self.reduced = encoder.eval().to(self.device), precision == "bf16"

    def __call__(self, images: Images) -> list[Tensor]:
        """Encode a batch."""
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.reduced):
            return [tensor.float().cpu() for tensor in self.encoder(images.to(self.device))]


class OpenVINOEngine:
    """Runs an encoder in OpenVINO; in torch if that cannot, and says so.

    Args:
        encoder: pictures to a list of tensors.
        key: says all that tells it from other encoders.
        precision: what it computes in.
        pictures: good ones, by which it is quantised in int8.
    """

    def __init__(self, encoder: nn.Module, key: str, precision: Precision, images: Iterable[Tensor] = ()) -> None:
        self.encoder, self.key, self.precision = encoder, key, precision
        self.sample = [image.numpy() for image in islice(images, QUANTISATION_IMAGES)] if precision == "int8" else []
        self._graphs: dict[tuple[int, int], Graph] = {}
        self._engines: dict[tuple[int, int], Engine] = {}

    def __call__(self, images: Images) -> list[Tensor]:
        """Encode a batch."""
        size = images.shape[-2], images.shape[-1]
        if size not in self._engines:
            self._engines[size] = self._start(*size)
        return self._engines[size](images)

    def graph(self, height: int, width: int) -> Graph:
        """Give the encoder for pictures of this size as a graph; made once.

        Raises:
            NotExportable: OpenVINO cannot hold it.
        """
        size = height, width
        if size not in self._graphs:
            made = _converted(_Keyed(self.encoder, self.key), *size)
            self._graphs[size] = Graph(quantise(made.model, self.sample)) if self.precision == "int8" else made
        return self._graphs[size]

    def _start(self, height: int, width: int) -> Engine:
        try:
            runner = GraphRunner(self.graph(height, width), self.precision, throughput=True)
        except NotExportable as error:
            if self.precision == "int8":
                raise
            emit(f"{error}; torch runs it, which takes longer")
            return TorchEngine(self.encoder, "f32")

        def run(images: Images) -> list[Tensor]:
            encoded = (done.outputs for done in runner.run_many(images.numpy()))
            return [torch.from_numpy(np.concatenate(arrays)) for arrays in zip(*encoded, strict=True)]

        return run


class _Keyed:
    """A module that is told from others by its key, so that what was made of it is found again."""

    def __init__(self, module: nn.Module, key: str) -> None:
        self.module, self.key = module, key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Keyed) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


@lru_cache(maxsize=8)
def _converted(encoder: _Keyed, height: int, width: int) -> Graph:
    return Graph(to_openvino(encoder.module, torch.zeros(1, 3, height, width)))


def best_device() -> torch.device:
    """Give the device to compute on: a GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
