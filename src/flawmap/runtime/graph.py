"""A network as OpenVINO holds it.

Made once from torch (`engine`), kept in the saved file, run without torch.
"""

from __future__ import annotations

import tempfile
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import openvino

from flawmap.errors import OptionError

Precision = Literal["f32", "bf16", "int8"]
"""What a network computes in.

`bf16` takes a CPU that has it; in `int8` the network was quantised before it learned.
"""


class InferenceResult(NamedTuple):
    """What came of one image."""

    outputs: list[np.ndarray]
    inference_ms: float


GRAPH_INPUT, GRAPH_OUTPUTS = "image", ("score", "anomaly_map")
"""What a scorer's graph calls them."""

_PRECISIONS: tuple[Precision, ...] = get_args(Precision)
_DEVICE = "CPU"
_XML, _WEIGHTS = "graph.xml", "graph.weights"


class Graph:
    """A network for one image at a time.

    Args:
        model: from an array (1, 3, height, width) to any number of arrays.
    """

    def __init__(self, model: openvino.Model) -> None:
        self.model = model

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Give what a saved file keeps; `from_saved` takes it back."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "graph.xml")
            openvino.save_model(self.model, file, compress_to_fp16=False)
            return {_XML: _bytes_of(file), _WEIGHTS: _bytes_of(file.with_suffix(".bin"))}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Graph:
        """Take back what `to_saved` gave."""
        return cls(
            openvino.Core().read_model(arrays[_XML].tobytes(), openvino.Tensor(arrays[_WEIGHTS]))
        )


class GraphRunner:
    """A graph made ready for this machine's CPU.

    Args:
        graph: what to run.
        precision: as what is not quantised is computed.
        ahead: whether several images are under way at once, which does more of them in an hour and
            takes longer for each; else each is done as fast as can be.
    """

    def __init__(
        self, graph: Graph, precision: Precision = "f32", *, throughput: bool = False
    ) -> None:
        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "PERFORMANCE_HINT": "THROUGHPUT" if throughput else "LATENCY",
        }
        self._compiled = openvino.Core().compile_model(graph.model, _DEVICE, settings)
        count = self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS") if throughput else 1
        self._requests = [self._compiled.create_infer_request() for _ in range(count)]

    def __call__(self, image: np.ndarray) -> InferenceResult:
        """Run one image, (3, height, width)."""
        return next(self.run_many([image]))

    def run_many(self, images: Iterable[np.ndarray]) -> Iterator[InferenceResult]:
        """Run images, in order; the next ones are asked for while earlier ones are under way."""
        free, busy = deque(self._requests), deque[openvino.InferRequest]()
        for image in images:
            if not free:
                yield _results(busy, free)
            request = free.popleft()
            request.start_async({0: image[None]})
            busy.append(request)
        while busy:
            yield _results(busy, free)


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
    """Give what this machine computes in where it is asked for a precision.

    Warns where that is another one.
    """
    if precision == "bf16" and not has_bf16():
        warnings.warn(
            "this CPU cannot compute in bf16, so f32 is used, which takes longer", stacklevel=2
        )
        return "f32"
    return precision


def has_bf16() -> bool:
    """Say whether this CPU computes in bf16."""
    return "BF16" in openvino.Core().get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")


def concat_graphs(encoder: Graph, head: openvino.Model) -> Graph:
    """Put a model behind an encoder: its inputs are what the encoder gives."""
    front = encoder.model.clone()
    for result, parameter in zip(front.get_results(), head.get_parameters(), strict=True):
        for target in parameter.output(0).get_target_inputs():
            target.replace_source_output(result.input_value(0))
    model = openvino.Model(head.get_results(), front.get_parameters(), "flawmap")
    model.inputs[0].get_tensor().set_names({GRAPH_INPUT})
    for output, name in zip(model.outputs, GRAPH_OUTPUTS, strict=True):
        output.get_tensor().set_names({name})
    # Their own names count all operations of the process; the same content shall give the same
    # file.
    for number, operation in enumerate(model.get_ordered_ops()):
        operation.set_friendly_name(f"{operation.get_type_name()}{number}")
    return Graph(model)


def _results(
    busy: deque[openvino.InferRequest], free: deque[openvino.InferRequest]
) -> InferenceResult:
    request = busy.popleft()
    request.wait()
    free.append(request)
    # Copied, since the request will write the next image's results there.
    return InferenceResult(
        [tensor.data.copy() for tensor in request.output_tensors], request.latency
    )


def _bytes_of(file: Path) -> np.ndarray:
    return np.frombuffer(file.read_bytes(), np.uint8)
