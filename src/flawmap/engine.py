"""Runs a network on this machine as fast as it can: OpenVINO on a CPU, torch on a GPU.

Measured on two cores at 224×224, to layer 3: EfficientNet-Lite0 29 ms a picture in torch, 3.4 in OpenVINO; ResNet-18 19
and 13. Converting takes seconds, so a graph is kept for as long as the process lives: the next method with the same
encoder, or the saved file, finds it made.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import openvino
import torch
from torch import Tensor, nn

from flawmap import graph
from flawmap.errors import NotExportable
from flawmap.graph import Graph, Precision, Runner
from flawmap.progress import tell
from flawmap.tensors import Images

Engine = Callable[[Images], list[Tensor]]
"""Encodes a batch; gives tensors on the CPU, a picture's along the first axis."""


def start(encoder: nn.Module, key: str, precision: Precision) -> Engine:
    """Make an encoder ready.

    Args:
        encoder: pictures to a list of tensors.
        key: says all that tells it from other encoders, its weights too.
        precision: what it computes in.

    Raises:
        OptionError: this machine cannot compute so.
    """
    if torch.cuda.is_available():
        return Torch(encoder, precision)
    graph.check(precision)
    return _OpenVINO(encoder, key, precision)


class Torch:
    """Runs an encoder in torch, where it is."""

    def __init__(self, encoder: nn.Module, precision: Precision) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.encoder, self.reduced = encoder.eval().to(self.device), precision != "f32"

    def __call__(self, images: Images) -> list[Tensor]:
        """Encode a batch."""
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.reduced):
            return [tensor.float().cpu() for tensor in self.encoder(images.to(self.device))]


class _OpenVINO:
    def __init__(self, encoder: nn.Module, key: str, precision: Precision) -> None:
        self.encoder, self.key, self.precision = encoder, key, precision
        self._runners: dict[tuple[int, ...], Engine] = {}

    def __call__(self, images: Images) -> list[Tensor]:
        size = tuple(images.shape[-2:])
        if size not in self._runners:
            self._runners[size] = self._start(*size)
        return self._runners[size](images)

    def _start(self, height: int, width: int) -> Engine:
        try:
            made = encoder_graph(Keyed(self.encoder, self.key), height, width)
        except NotExportable as error:
            tell(f"{error}; torch runs it, which takes longer")
            return Torch(self.encoder, "f32")
        runner = Runner(made, self.precision, ahead=True)

        def run(images: Images) -> list[Tensor]:
            encoded = (done.outputs for done in runner.each(images.numpy()))
            return [torch.from_numpy(np.concatenate(arrays)) for arrays in zip(*encoded, strict=True)]

        return run


def scorer_graph(encoder: nn.Module, key: str, judge: nn.Module, height: int, width: int) -> Graph:
    """Give encoder and judge as one graph, for pictures of this size.

    Raises:
        NotExportable: OpenVINO cannot hold it.
    """
    front = encoder_graph(Keyed(encoder, key), height, width)
    encoded = encoder(torch.zeros(1, 3, height, width))
    return graph.join(front, convert(_Behind(judge, height, width), *encoded))


class _Behind(nn.Module):
    """A judge for pictures of one size."""

    def __init__(self, judge: nn.Module, height: int, width: int) -> None:
        super().__init__()
        self.judge, self.size = judge, (height, width)

    def forward(self, *encoded: Tensor) -> tuple[Tensor, Tensor]:
        image, pixel = self.judge(list(encoded), *self.size)
        return image, pixel


class Keyed:
    """A module that is told from others by its key, so that what was made of it is found again."""

    def __init__(self, module: nn.Module, key: str) -> None:
        self.module, self.key = module, key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Keyed) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


@lru_cache(maxsize=8)
def encoder_graph(encoder: Keyed, height: int, width: int) -> Graph:
    """Convert an encoder, or find it converted."""
    return Graph(convert(encoder.module, torch.zeros(1, 3, height, width)))


def convert(module: nn.Module, *examples: Tensor) -> openvino.Model:
    """Convert a module to OpenVINO, for tensors of the examples' shapes.

    Raises:
        NotExportable: OpenVINO lacks an operation, or torch cannot trace the module.
    """
    # Not through openvino.convert_model, which reports each use to its makers over the network.
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder

    front_end = FrontEndManager().load_by_framework("pytorch")
    try:
        with _quiet(), torch.no_grad():
            program = torch.export.export(module, examples)
            decoder = TorchFXPythonDecoder.from_exported_program(program)
            model = front_end.convert(front_end.load(decoder))
    except (RuntimeError, openvino.OpConversionFailure) as error:
        reason = str(error).strip().splitlines()[-1]
        raise NotExportable(f"OpenVINO cannot hold {type(module).__name__}: {reason}") from error
    model.reshape({place: list(example.shape) for place, example in enumerate(examples)})
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what torch and OpenVINO say of each other's age."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
