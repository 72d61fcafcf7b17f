"""A network as an OpenVINO graph, and its execution on this machine's CPU.

`flawmap.engine` makes the graph from torch once; the saved file keeps it. It runs without torch.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from threading import Lock
from typing import Any, Literal, NamedTuple, get_args
from weakref import WeakSet

import numpy as np
import openvino

from flawmap.errors import OptionError, WriteError
from flawmap.runtime.graph_check import check_text
from flawmap.support.process import HomeProcess, end_library_calls, library_call
from flawmap.support.temporary_folder import temporary_folder

Precision = Literal["f32", "bf16", "int8"]
"""What a network computes in: float32, bfloat16 where the CPU has it, or int8.

For int8 the network is quantised before the method is fitted.
"""

GRAPH_INPUT = "image"
"""Name of the input of a scoring graph."""

GRAPH_OUTPUTS = ("score", "anomaly_map")
"""Names of the outputs of a scoring graph."""

KEPT_NAMES = "flawmap."
"""Begins the names of operations that are found again by their names."""

_PRECISIONS: tuple[Precision, ...] = get_args(Precision)
_DEVICE = "CPU"
_XML = "graph.xml"
_WEIGHTS = "graph.weights"

_XML_BYTES_PER_OPERATION = 4096
"""More than an operation takes in the text of a graph."""


class InferenceResult(NamedTuple):
    """The outputs of a graph for one image.

    Args:
        outputs: an array for each output; the first axis has length 1.
        inference_ms: time that the graph took, in milliseconds.
    """

    outputs: list[np.ndarray]
    inference_ms: float


class Graph:
    """A network for one image at a time.

    Args:
        model: from an array (1, 3, height, width) to any number of arrays.

    Example:
        >>> from openvino import opset13 as ops
        >>> image = ops.parameter([1, 3, 8, 8], np.float32)
        >>> graph = Graph(openvino.Model([ops.relu(image)], [image]))
        >>> sorted(graph.to_arrays())
        ['graph.weights', 'graph.xml']
    """

    def __init__(self, model: openvino.Model) -> None:
        self.model = model

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The graph as arrays of bytes by name, for a saved file; `from_arrays` takes them."""
        with temporary_folder(_size_on_disk(self.model)) as folder:
            file = folder / "graph.xml"
            try:
                openvino.save_model(self.model, file, compress_to_fp16=False)
            except RuntimeError as error:
                raise WriteError(
                    f"{folder}: a temporary file could not be written; set TMPDIR to a folder that "
                    "has room"
                ) from error
            return {_XML: _bytes_of(file), _WEIGHTS: _bytes_of(file.with_suffix(".bin"))}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Graph:
        """The graph in a saved file.

        Args:
            arrays: those of the file, by name; others than `to_arrays` returned are ignored.

        Raises:
            KeyError: the graph's arrays are missing.
            BundleError: they hold what flawmap does not write.
            RuntimeError: OpenVINO refuses the graph.
        """
        xml = arrays[_XML].tobytes()
        check_text(xml, arrays[_WEIGHTS].nbytes)
        weights = openvino.Tensor(arrays[_WEIGHTS])
        return cls(openvino.Core().read_model(xml, weights))


class GraphRunner:
    """A graph compiled for this machine's CPU, for any number of threads.

    Args:
        graph: what to run.
        precision: what is not quantised is computed in it.
        throughput: whether several images are computed at once, which takes longer for each and
            less for all; else each image is computed as fast as this machine can.

    Example:
        >>> from openvino import opset13 as ops
        >>> image = ops.parameter([1, 3, 8, 8], np.float32)
        >>> run = GraphRunner(Graph(openvino.Model([ops.relu(image)], [image])))
        >>> run(np.full((3, 8, 8), -1, np.float32)).outputs[0].max()
        np.float32(0.0)
    """

    def __init__(
        self, graph: Graph, precision: Precision = "f32", *, throughput: bool = False
    ) -> None:
        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "PERFORMANCE_HINT": "THROUGHPUT" if throughput else "LATENCY",
        }
        with library_call():
            compiled = openvino.Core().compile_model(graph.model, _DEVICE, settings)
            size = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS") if throughput else 1
            self._pool = _RequestPool(compiled, size)
        self._home = HomeProcess("the inspector's graph")

    @property
    def free_requests(self) -> int:
        """Number of requests that no run holds; each computes one image at a time."""
        return len(self._pool.free)

    def __call__(self, image: np.ndarray) -> InferenceResult:
        """The graph's outputs for one image.

        Args:
            image: (3, height, width), float32.

        Raises:
            ForkError: this process was forked after the graph was compiled.
        """
        return next(self.run_many([image]))

    def run_many(self, images: Iterable[np.ndarray]) -> Iterator[InferenceResult]:
        """The graph's outputs for each image, in order.

        With `throughput`, the next images are taken and started while earlier ones are computed.

        Args:
            images: (3, height, width), float32, each.

        Raises:
            ForkError: this process was forked after the graph was compiled.
        """
        self._home.check()
        running: deque[openvino.InferRequest] = deque()
        try:
            for image in images:
                # A run that has a request waits for its own, never for those of another run, which
                # may have been left half-way.
                while (request := self._pool.take(or_create=not running)) is None:
                    yield self._pool.finish(running.popleft())
                running.append(request)
                with library_call():
                    request.start_async({0: image[None]})
            while running:
                yield self._pool.finish(running.popleft())
        finally:
            # In a forked process, which dropped a copy of this run, no request is ever done.
            if self._home.is_here:
                for request in running:
                    self._pool.finish(request)


class _RequestPool:
    """Infer requests of one compiled graph, each of which computes one image at a time.

    It holds `size` requests, and one more for each run that would have none.
    """

    def __init__(self, compiled: openvino.CompiledModel, size: int) -> None:
        self._compiled = compiled
        self.free = [compiled.create_infer_request() for _ in range(size)]
        self._busy: dict[int, openvino.InferRequest] = {}
        self._lock = Lock()
        _pools.add(self)

    def take(self, *, or_create: bool) -> openvino.InferRequest | None:
        """A free request; where there is none, a new one or None."""
        with self._lock:
            if not self.free and not or_create:
                return None
            request = self.free.pop() if self.free else self._compiled.create_infer_request()
            self._busy[id(request)] = request
            return request

    def finish(self, request: openvino.InferRequest) -> InferenceResult:
        """What a request computed, when it is done; the request is free again."""
        try:
            with library_call():
                request.wait()
            # Copied, since the request will write the next image's results there.
            outputs = [tensor.data.copy() for tensor in request.output_tensors]
            return InferenceResult(outputs, request.latency)
        finally:
            with self._lock:
                self.free.append(self._busy.pop(id(request)))

    def wait_for_all(self) -> None:
        """Wait for what is computed now; nobody may use the pool meanwhile."""
        for request in list(self._busy.values()):
            request.wait()

    def keep(self) -> None:
        """Never free what OpenVINO made: it waits for its threads, which a fork does not copy."""
        for kept in (self._compiled, *self.free, *self._busy.values()):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))


_pools: WeakSet[_RequestPool] = WeakSet()


def _end_computing() -> None:
    """At the end of the interpreter: OpenVINO's threads would compute in what is gone by then."""
    end_library_calls()
    for pool in list(_pools):
        pool.wait_for_all()


def _keep_pools() -> None:
    """In a forked process, which else waits forever when it ends or drops an inspector."""
    for pool in list(_pools):
        pool.keep()
    _pools.clear()


atexit.register(_end_computing)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_pools)


def check_precision(precision: str) -> Precision:
    """The precision, once it is known to be one.

    Args:
        precision: its name.

    Raises:
        OptionError: there is no such precision.

    >>> check_precision("bf16")
    'bf16'
    """
    for name in _PRECISIONS:
        if name == precision:
            return name
    raise OptionError(f"there is no precision {precision!r}; there are {', '.join(_PRECISIONS)}")


def supported_precision(precision: Precision) -> Precision:
    """The precision that this machine computes in where another is requested; warns if it differs.

    Args:
        precision: what is requested.

    >>> supported_precision("f32")
    'f32'
    """
    if precision == "bf16" and not has_bf16():
        warnings.warn(
            "this CPU cannot compute in bf16, so f32 is used, which takes longer", stacklevel=2
        )
        return "f32"
    return precision


def has_bf16() -> bool:
    """Whether this CPU computes in bf16."""
    return "BF16" in openvino.Core().get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")


def concat_graphs(encoder: Graph, head: openvino.Model) -> Graph:
    """One graph of an encoder and a head: images in, scores and anomaly maps out.

    Args:
        encoder: its outputs become the head's inputs, in order; it is copied.
        head: it is built into the result, so it cannot be used alone any more.
    """
    front = encoder.model.clone()
    for result, parameter in zip(front.get_results(), head.get_parameters(), strict=True):
        for target in parameter.output(0).get_target_inputs():
            target.replace_source_output(result.input_value(0))
    model = openvino.Model(head.get_results(), front.get_parameters(), "flawmap")
    model.inputs[0].get_tensor().set_names({GRAPH_INPUT})
    for output, name in zip(model.outputs, GRAPH_OUTPUTS, strict=True):
        output.get_tensor().set_names({name})
    rename_operations(model)
    return Graph(model)


def rename_operations(model: openvino.Model) -> None:
    """Number the operations of a model, but for those that have names of flawmap.

    Their own names count all operations of the process; the same content shall give the same file.

    Args:
        model: its operations are renamed in place.
    """
    for number, operation in enumerate(model.get_ordered_ops()):
        if not operation.get_friendly_name().startswith(KEPT_NAMES):
            operation.set_friendly_name(f"{operation.get_type_name()}{number}")


def _size_on_disk(model: openvino.Model) -> int:
    """Bytes of a model's two files, rather more than less."""
    operations = model.get_ops()
    constants = [operation for operation in operations if operation.get_type_name() == "Constant"]
    weights = sum(int(constant.get_byte_size()) for constant in constants)
    return weights + _XML_BYTES_PER_OPERATION * len(operations)


def _bytes_of(file: Path) -> np.ndarray:
    return np.frombuffer(file.read_bytes(), np.uint8)
