"""A search in an OpenVINO graph whose bank can be replaced, and whether eight bits are exact."""

from __future__ import annotations

from functools import cache

import numpy as np
import openvino
from jaxtyping import Float
from openvino import opset13 as ops

from flawmap.errors import OptionError
from flawmap.runtime.graph import KEPT_NAMES, Graph, rename_operations
from flawmap.runtime.search import add_search, floats, integers

QUERIES = f"{KEPT_NAMES}queries"
"""Name of the operation before the search."""

_DISTANCES = f"{KEPT_NAMES}distances"
"""Name of the operation behind it."""

_Vectors = Float[np.ndarray, "vector channel"]


def add_replaceable_search(queries: openvino.Output, vectors: _Vectors) -> openvino.Output:
    """Append a search whose bank `with_bank` replaces.

    Args:
        queries: output of a graph, (query, channel), of a fixed shape.
        vectors: of the bank, (vector, channel).

    Returns:
        Distances, (query,), >= 0.
    """
    first = ops.reshape(queries, integers(*queries.shape), False)
    first.set_friendly_name(QUERIES)
    last = ops.reshape(add_search(first.output(0), vectors), integers(queries.shape[0]), False)
    last.set_friendly_name(_DISTANCES)
    return last.output(0)


def has_search(graph: Graph) -> bool:
    """Whether the bank of a graph can be replaced.

    Args:
        graph: of a saved file.
    """
    return _find(graph.model, QUERIES) is not None


def with_bank(graph: Graph, vectors: _Vectors, *, in_eight_bits: bool = True) -> Graph:
    """The graph with another bank; that takes no torch and no conversion.

    Args:
        graph: of a saved file; it is copied.
        vectors: of the new bank, (vector, channel), as many channels as before.
        in_eight_bits: whether products of eight bits may be used; see `eight_bits_are_exact`.

    Raises:
        OptionError: the graph's bank cannot be replaced, or the vectors have other channels.
    """
    model = graph.model.clone()
    first, last = _find(model, QUERIES), _find(model, _DISTANCES)
    if first is None or last is None:
        raise OptionError("the bank of this graph cannot be replaced; fit again")
    channels = first.output(0).shape[1]
    if vectors.ndim != 2 or vectors.shape[1] != channels or not len(vectors):
        raise OptionError(f"a bank of shape {vectors.shape}; use (1 or more, {channels})")
    found = add_search(first.output(0), vectors, in_eight_bits=in_eight_bits)
    last.input(0).replace_source_output(found)
    rename_operations(model)
    return Graph(model)


def runnable_here(graph: Graph, vectors: _Vectors) -> Graph:
    """The same graph, with a plain search where this machine's eight bits are not exact.

    Args:
        graph: of a saved file, or one that will be saved.
        vectors: of its bank, (vector, channel).
    """
    if not has_search(graph) or eight_bits_are_exact():
        return graph
    return with_bank(graph, np.asarray(vectors, np.float32), in_eight_bits=False)


@cache
def eight_bits_are_exact() -> bool:
    """Whether this machine's products in eight bits are exact.

    Without VNNI two products are added in 16 bits first, where large ones overflow, or the codes
    are halved to prevent that. Then the bounds of the search do not hold.
    """
    codes = np.resize(np.array([127, -127, 127, 125, -127], np.int8), (64, 64))
    queries = ops.parameter([64, 64], np.float32)
    limits = floats(-128.0), floats(127.0)
    coded = ops.fake_quantize(queries, *limits, *limits, 256)
    weights = ops.multiply(ops.convert(ops.constant(codes), np.float32), floats([[1.0]]))
    model = openvino.Model([ops.matmul(coded, weights, False, True)], [queries])
    values = np.resize(np.array([127, 127, -127, -126], np.float32), (64, 64))
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    computed = openvino.Core().compile_model(model, "CPU", settings)(values)[0]
    return np.array_equal(computed, values @ codes.T.astype(np.float32))


def _find(model: openvino.Model, name: str) -> openvino.Node | None:
    found = (node for node in model.get_ops() if node.get_friendly_name() == name)
    return next(found, None)
