"""A graph whose bank is replaced searches the new one."""

from __future__ import annotations

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from flawmap.errors import OptionError
from flawmap.runtime.graph import Graph
from flawmap.runtime.replaceable_search import (
    add_replaceable_search,
    eight_bits_are_exact,
    has_search,
    with_bank,
)

ROWS = 1500
"""Enough that products in eight bits are used."""


def normal(seed: int, rows: int, channels: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, channels)).astype(np.float32)


def graph(vectors: np.ndarray, count: int = 50) -> Graph:
    queries = ops.parameter([count, vectors.shape[1]], np.float32)
    doubled = ops.multiply(queries, ops.constant(np.float32(2))).output(0)
    distances = add_replaceable_search(doubled, vectors)
    total = ops.reduce_sum(distances, ops.constant(np.array([0])), False).output(0)
    return Graph(openvino.Model([total], [queries]))


def total(graph: Graph, queries: np.ndarray) -> float:
    return float(openvino.compile_model(graph.model, "CPU")(queries)[0])


@pytest.mark.parametrize("rows", [30, ROWS])
@pytest.mark.parametrize("in_eight_bits", [True, False])
def test_another_bank(rows: int, in_eight_bits: bool) -> None:
    if in_eight_bits and not eight_bits_are_exact():
        pytest.skip("this machine's products in eight bits are not exact")
    first = graph(normal(13, ROWS, 10))
    other = normal(14, rows, 10)
    queries = normal(15, 50, 10)
    saved = Graph.from_arrays(first.to_arrays())
    replaced = with_bank(saved, other, in_eight_bits=in_eight_bits)
    distances = np.linalg.norm(
        2 * queries[:, None].astype(np.float64) - other.astype(np.float64), axis=2
    ).min(axis=1)
    assert total(replaced, queries) == pytest.approx(distances.sum(), rel=1e-6)
    again = with_bank(replaced, normal(13, ROWS, 10))
    assert total(again, queries) == pytest.approx(total(first, queries), rel=1e-6)


def test_a_bank_that_does_not_fit() -> None:
    with pytest.raises(OptionError, match="10"):
        with_bank(graph(normal(16, 30, 10)), normal(16, 30, 11))


def test_a_graph_without_search() -> None:
    image = ops.parameter([1, 3], np.float32)
    plain = Graph(openvino.Model([ops.relu(image)], [image]))
    assert not has_search(plain)
    with pytest.raises(OptionError, match="fit again"):
        with_bank(plain, np.zeros((1, 3), np.float32))
