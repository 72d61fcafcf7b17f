"""Runs a network on this machine as fast as it can: OpenVINO on a CPU, torch on a GPU.

Measured on two cores at 224×224, to layer 3: EfficientNet-Lite0 takes 29 ms an image in torch and
3.4 ms in OpenVINO; ResNet-18 takes 19 ms and 13 ms. Converting takes seconds, so a graph is kept as
long as the process lives: the next method with the same encoder, or the saved file, finds it there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from copy import deepcopy
from functools import lru_cache
from itertools import islice
from operator import length_hint

import numpy as np
import torch
from torch import Tensor, nn

from flawmap.engine.batches import Batch
from flawmap.engine.convert import FlatEncoder, to_openvino
from flawmap.engine.quantise import QUANTISATION_IMAGES, quantise
from flawmap.errors import NotExportable, NotFitted
from flawmap.runtime.graph import Graph, GraphRunner, Precision, supported_precision
from flawmap.support.progress import emit
from flawmap.support.system import release_free_memory
from flawmap.support.tensors import Embedded, Images

_Engine = Callable[[Images], list[Tensor]]
"""Runs a network on a batch; the tensors are on the CPU, their first axis is the image's."""

_MIN_BATCHES_TO_COMPILE = 16
"""Fewer batches are done before a graph would be ready."""


class EncoderRunner:
    """Runs an encoder: in torch at first, as fast as this machine can after `warm_up`.

    Args:
        encoder: images to `Embedded`.
        identity: what else than its weights tells this encoder from others: method and options.
        precision: what the encoder computes in.
        compiles: whether `warm_up` may do anything; False where the encoder looks up what it has
            computed before, so that a graph would gain nothing.

    Example:
        >>> class Pixels(torch.nn.Module):
        ...     def forward(self, images):
        ...         return Embedded((images,))
        >>> EncoderRunner(Pixels(), "pixels", "f32").encode(torch.zeros(1, 3, 8, 8)).maps[0].shape
        torch.Size([1, 3, 8, 8])
    """

    def __init__(
        self, encoder: nn.Module, identity: str, precision: Precision, *, compiles: bool = True
    ) -> None:
        self._encoder = FlatEncoder(encoder).eval()
        self._identity = identity
        self._precision = precision
        self._compiles = compiles
        self._engine: _Engine | None = None

    def warm_up(self, batches: Iterable[Batch], rounds: int = 1) -> None:
        """Make the encoder ready for these batches; compiles it where they are many.

        Args:
            batches: in int8 the first images set the ranges of the network's numbers.
            rounds: how many times the batches will be encoded.
        """
        if not self._compiles:
            return
        is_worth_it = rounds * length_hint(batches) >= _MIN_BATCHES_TO_COMPILE
        if self._precision == "int8" or is_worth_it:
            images = (image for batch in batches for image in batch.images)
            self._engine = make_engine(self._encoder, self.key, self._precision, images)

    def encode(self, images: Images) -> Embedded:
        """The encoder's output for a batch, on the CPU.

        Args:
            images: (batch, 3, height, width), preprocessed.

        Raises:
            NotFitted: in int8 before `warm_up`; the quantised network is in the saved graph only.
        """
        if self._engine is None:
            if self._precision == "int8":
                raise NotFitted(
                    "what was quantised is in the saved graph; open the file with flawmap.load"
                )
            self._engine = TorchEngine(self._encoder, self._precision)
        return Embedded.unflatten(self._engine(images))

    def graph(self, height: int, width: int) -> Graph:
        """The encoder as a graph for one image at a time.

        Args:
            height: height of the image in pixels.
            width: width of the image in pixels.

        Raises:
            NotExportable: OpenVINO cannot hold the encoder.
        """
        with torch.no_grad():
            if isinstance(self._engine, OpenVINOEngine):
                return self._engine.graph(height, width)
            encoder = deepcopy(self._encoder).cpu()
            return OpenVINOEngine(encoder, self.key, self._precision).graph(height, width)

    def release(self) -> None:
        """Give back the memory of the compiled encoder; the next batch compiles it again."""
        if isinstance(self._engine, OpenVINOEngine):
            self._engine.release()
        release_free_memory()

    @property
    def key(self) -> str:
        """SHA-256 of the encoder: its identity and its weights."""
        digest = hashlib.sha256(self._identity.encode())
        for name, tensor in self._encoder.state_dict().items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def make_engine(
    encoder: nn.Module, key: str, precision: Precision, images: Iterable[Tensor]
) -> _Engine:
    """The fastest engine of this machine for a network.

    Args:
        encoder: images to a sequence of tensors.
        key: tells the encoder from others, by its weights too.
        precision: what the encoder computes in; int8 is for CPUs, also on a machine with a GPU.
        images: good ones, preprocessed, (3, height, width); int8 ranges are measured on the first.
    """
    if torch.cuda.is_available() and precision != "int8":
        return TorchEngine(encoder, precision)
    return OpenVINOEngine(encoder.cpu(), key, supported_precision(precision), images)


class TorchEngine:
    """Runs an encoder in torch, on a GPU where there is one.

    Args:
        encoder: images to a sequence of tensors.
        precision: `bf16` computes in it where torch can; else f32.
    """

    def __init__(self, encoder: nn.Module, precision: Precision) -> None:
        self.device = best_device()
        self.encoder = encoder.eval().to(self.device)
        self.is_reduced = precision == "bf16"

    def __call__(self, images: Images) -> list[Tensor]:
        """The encoder's tensors for a batch, in float32 on the CPU.

        Args:
            images: (batch, 3, height, width), preprocessed.
        """
        reduced = torch.autocast(self.device.type, torch.bfloat16, enabled=self.is_reduced)
        with torch.inference_mode(), reduced:
            tensors = self.encoder(images.to(self.device))
            return [tensor.float().cpu() for tensor in tensors]


class OpenVINOEngine:
    """Runs an encoder in OpenVINO; in torch where OpenVINO cannot, with a message.

    Args:
        encoder: images to a sequence of tensors.
        key: tells the encoder from others, by its weights too.
        precision: what the encoder computes in.
        images: good ones, (3, height, width); int8 ranges are measured on the first of them.
    """

    def __init__(
        self, encoder: nn.Module, key: str, precision: Precision, images: Iterable[Tensor] = ()
    ) -> None:
        self.encoder = encoder
        self.key = key
        self.precision = precision
        self.sample: list[np.ndarray] = []
        if precision == "int8":
            self.sample = [image.numpy() for image in islice(images, QUANTISATION_IMAGES)]
        self._graphs: dict[tuple[int, int], Graph] = {}
        self._engines: dict[tuple[int, int], _Engine] = {}

    def __call__(self, images: Images) -> list[Tensor]:
        """The encoder's tensors for a batch.

        Args:
            images: (batch, 3, height, width), preprocessed.
        """
        size = images.shape[-2], images.shape[-1]
        if size not in self._engines:
            self._engines[size] = self._start(*size)
        return self._engines[size](images)

    def graph(self, height: int, width: int) -> Graph:
        """The encoder as a graph for one image at a time; made once for a size.

        Args:
            height: height of the image in pixels.
            width: width of the image in pixels.

        Raises:
            NotExportable: OpenVINO cannot hold the encoder.
        """
        size = height, width
        if size not in self._graphs:
            graph = _converted(_Keyed(self.encoder, self.key), *size)
            if self.precision == "int8":
                graph = Graph(quantise(graph.model, self.sample))
            self._graphs[size] = graph
        return self._graphs[size]

    def release(self) -> None:
        """Give back the memory of what was compiled; the graphs stay."""
        self._engines.clear()

    def _start(self, height: int, width: int) -> _Engine:
        try:
            runner = GraphRunner(self.graph(height, width), self.precision, throughput=True)
        except NotExportable as error:
            if self.precision == "int8":
                raise
            emit(f"{error}; torch runs it, which takes longer")
            return TorchEngine(self.encoder, "f32")

        def run(images: Images) -> list[Tensor]:
            outputs = (result.outputs for result in runner.run_many(images.numpy()))
            by_output = zip(*outputs, strict=True)
            return [torch.from_numpy(np.concatenate(arrays)) for arrays in by_output]

        return run


class _Keyed:
    """A module that equals others of the same key, so that its graph is found again."""

    def __init__(self, module: nn.Module, key: str) -> None:
        self.module = module
        self.key = key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Keyed) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


@lru_cache(maxsize=8)
def _converted(encoder: _Keyed, height: int, width: int) -> Graph:
    return Graph(to_openvino(encoder.module, torch.zeros(1, 3, height, width)))


def best_device() -> torch.device:
    """The device to compute on: a GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
