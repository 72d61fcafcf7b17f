"""Exact search for the nearest vector of a bank, as part of an OpenVINO graph.

Today's plain search multiplies every query by every vector in float32. This one does so in eight
bits, which bounds all distances from below, measures the few vectors that can be nearest in
float32, and proves for each query that no other vector is nearer. Queries without a proof are
searched plainly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import openvino
from jaxtyping import Float
from openvino import opset13 as ops

from flawmap.runtime.search_index import FOLD, SearchIndex, build_index

_LEAST_ROWS = 1024
"""Smaller banks are searched plainly, which is as fast."""

_LEAST_QUERIES = 16
"""Fewer queries are searched plainly, which is as fast."""

_FOLDS_SEARCHED = 4
"""Folds whose vectors are looked at, of each query."""

_MEASURED = 4
"""Vectors whose distance is measured, of each query."""

_RETRIED = (32, 64, 128, 256)
"""Queries without a proof that are searched plainly among themselves; with more than the last, all
queries are.
"""

_PLAINLY_MEASURED = 4
"""Vectors whose distance is measured, of each query that is searched plainly."""

_REGISTER = 16
"""Numbers in a register, of which a product in eight bits takes whole ones."""

_ROUNDING = 4e-6
"""Bound on float32's rounding in a key, as a fraction of (‖q̂‖ + ‖m̂‖)²."""

_Vectors = Float[np.ndarray, "vector channel"]
_Value = Any  # an operation of one output, or that output
_Branch = Callable[..., _Value]


def add_search(
    queries: openvino.Output, vectors: _Vectors, *, in_eight_bits: bool = True
) -> openvino.Output:
    """Append a search to a graph: the distance of each query to its nearest vector.

    Args:
        queries: output of a graph, (query, channel), of a fixed shape.
        vectors: of the bank, (vector, channel).
        in_eight_bits: whether products of eight bits may be used; the plain search uses none.

    Returns:
        Distances, (query,), >= 0.

    Example:
        >>> from openvino import opset13 as ops
        >>> queries = ops.parameter([1, 2], np.float32)
        >>> bank = np.array([[0.0, 0.0], [6.0, 8.0]], np.float32)
        >>> model = openvino.Model([add_search(queries.output(0), bank)], [queries])
        >>> openvino.compile_model(model, "CPU")(np.array([[6.0, 7.0]], np.float32))[0]
        array([1.], dtype=float32)
    """
    is_small = len(vectors) < _LEAST_ROWS or queries.shape[0] < _LEAST_QUERIES
    if is_small or not in_eight_bits:
        return _plain(queries, vectors)
    return _Search(queries, build_index(vectors)).distances()


class _Search:
    """The operations of one search."""

    def __init__(self, queries: _Value, index: SearchIndex) -> None:
        self.index = index
        self.count = queries.shape[0]
        self.queries = queries
        self.centred = ops.subtract(queries, floats(index.centre[None])).output(0)
        self.coded = self._code(0)

    def distances(self) -> _Value:
        near, beyond = self._candidates(self._keys())
        squared = _measure(self.queries, near, self.index.vectors)
        found = ops.sqrt(squared).output(0)
        bank = self.index.vectors[: self.index.count]
        return _retry(found, self._doubtful(found, beyond), self.queries, bank)

    def _code(self, empty: int) -> _Value:
        """The queries less the centre in eight bits, with so many zeros behind each."""
        padded = self.centred
        if empty:
            padded = ops.pad(padded, integers(0, 0), integers(0, empty), "constant")
        # 256 steps, 127 of them upwards: what OpenVINO turns into a product in eight bits.
        limit = self.index.query_limit
        limits = floats(-limit * 128 / 127), floats(limit)
        return ops.fake_quantize(padded, *limits, *limits, 256).output(0)

    def _keys(self) -> _Value:
        """For each query and row what bounds the distance, less ‖q̂‖²."""
        # Zeros up to whole registers: 160 channels take less time than 152.
        empty = -self.queries.shape[1] % _REGISTER
        codes = np.pad(-self.index.codes, ((0, 0), (0, empty)))
        vectors = ops.multiply(
            ops.convert(ops.constant(codes), np.float32), floats(2 * self.index.scales[:, None])
        )
        products = ops.matmul(self._code(empty), vectors, False, True)
        return ops.add(products, floats(self.index.offsets[None])).output(0)

    def _candidates(self, keys: _Value) -> tuple[_Value, _Value]:
        """Rows to measure, (query, row), and the least key of all others, (query,)."""
        count, folds = self.count, self.index.folds
        # One view for both uses: with two, OpenVINO copies all keys.
        by_fold = ops.reshape(keys, integers(count * folds, FOLD), False).output(0)
        in_fold = ops.reshape(
            ops.reduce_min(by_fold, integers(1), False), integers(count, folds), False
        )
        least, fold = _smallest(in_fold, _FOLDS_SEARCHED + 1)
        searched = _columns(fold, 0, _FOLDS_SEARCHED)
        starts = np.arange(count, dtype=np.int32)[:, None] * folds
        flat = ops.add(searched, ops.constant(starts))
        inside = ops.reshape(_rows(by_fold, flat), integers(count, _FOLDS_SEARCHED * FOLD), False)
        keys_inside, position = _smallest(inside, _MEASURED + 1)
        chosen = _columns(position, 0, _MEASURED)
        part = ops.divide(chosen, ops.constant(np.int32(FOLD)))
        column = ops.subtract(chosen, ops.multiply(part, ops.constant(np.int32(FOLD))))
        fold_of = ops.gather_elements(searched, part, 1)
        near = ops.add(ops.multiply(fold_of, ops.constant(np.int32(FOLD))), column)
        others = ops.minimum(
            _columns(least, _FOLDS_SEARCHED, _FOLDS_SEARCHED + 1),
            _columns(keys_inside, _MEASURED, _MEASURED + 1),
        )
        return near.output(0), ops.squeeze(others, integers(1)).output(0)

    def _doubtful(self, found: _Value, beyond: _Value) -> _Value:
        """Where a row that was not measured may be nearer, (query,)."""
        index = self.index
        norm = _norm(self.coded)
        error = ops.add(
            _norm(ops.subtract(self.centred, self.coded)), ops.multiply(norm, floats(1e-6))
        )
        bound = ops.add(ops.add(found, error), floats(index.least_error))
        outside = ops.relu(ops.subtract(bound, floats(index.reach)))
        extra = ops.multiply(outside, floats(2 * index.excess))
        reached = ops.add(norm, floats(index.radius))
        rounding = ops.multiply(ops.multiply(reached, reached), floats(_ROUNDING))
        needed = ops.add(ops.add(ops.multiply(bound, bound), extra), rounding)
        lower = ops.add(beyond, ops.multiply(norm, norm))
        # Written so that what is no number is doubtful.
        return ops.logical_not(ops.greater_equal(lower, needed)).output(0)


def _retry(found: _Value, doubtful: _Value, queries: _Value, vectors: _Vectors) -> _Value:
    """Distances, where those of doubtful queries come from the plain search, (query,)."""
    flags = ops.convert(doubtful, np.float32).output(0)

    def keep(found: _Value, *_: _Value) -> _Value:
        return ops.add(found, floats(0.0)).output(0)

    def search_all(found: _Value, *others: _Value) -> _Value:
        return ops.minimum(found, _plain(others[1], vectors)).output(0)

    def search_some(limits: tuple[int, ...]) -> _Branch:
        """At most the first limit of queries; more than that, by the next limit."""
        if not limits or queries.shape[0] <= limits[0]:
            return search_all

        def few(found: _Value, flags: _Value, queries: _Value) -> _Value:
            top = ops.topk(flags, ops.constant(np.int64(limits[0])), 0, "max", "none")
            rows = top.output(1)
            again = _plain(_rows(queries, rows), vectors)
            nearer = ops.minimum(_rows(found, rows), again)
            return ops.scatter_elements_update(found, rows, nearer, 0).output(0)

        def branch(*values: _Value) -> _Value:
            return _if_at_most(limits[0], values, few, search_some(limits[1:]))

        return branch

    return _if_at_most(0, (found, flags, queries), keep, search_some(_RETRIED))


def _if_at_most(
    limit: int, values: tuple[_Value, ...], then: _Branch, otherwise: _Branch
) -> _Value:
    """What `then` makes where at most so many flags, the second of the values, are set."""
    count = ops.reduce_sum(values[1], integers(0), False)
    # Its output: of the operation itself, `if_op` makes a constant.
    choice = ops.if_op(ops.less_equal(count, floats(limit + 0.5)).output(0))
    bodies = []
    for branch in (then, otherwise):
        inputs = [ops.parameter(value.shape, value.element_type) for value in values]
        result = ops.result(branch(*(node.output(0) for node in inputs)))
        bodies.append((openvino.Model([result], inputs), inputs, result))
    (then_body, then_inputs, then_result), (else_body, else_inputs, else_result) = bodies
    choice.set_then_body(then_body)
    choice.set_else_body(else_body)
    for value, in_then, in_else in zip(values, then_inputs, else_inputs, strict=True):
        choice.set_input(value, in_then, in_else)
    return choice.set_output(then_result, else_result)


def _plain(queries: _Value, vectors: _Vectors) -> _Value:
    """Distances by one product in float32, the best of some of its columns measured, (query,).

    The product loses squared distances below some 1e-6 of a query's own square less the centre.
    """
    count = queries.shape[0]
    folds = max(1, round(len(vectors) ** 0.5))
    width = -(-len(vectors) // folds)
    rows = np.minimum(np.arange(folds * width), len(vectors) - 1)
    centre = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = vectors[rows].astype(np.float64) - centre
    squares = np.square(centred).sum(axis=1)
    moved = ops.subtract(queries, floats(centre[None]))
    products = ops.matmul(moved, floats(-2 * centred), False, True)
    values = ops.reshape(
        ops.add(products, floats(squares[None])), integers(count, folds, width), False
    )
    kept = min(_PLAINLY_MEASURED, width)
    _, column = _smallest(ops.reduce_min(values, integers(1), False), kept)
    shape = ops.constant(np.array([count, folds, kept]))
    candidates = ops.broadcast(ops.unsqueeze(column, integers(1)), shape)
    among = ops.gather_elements(values, candidates, 2)
    fold = ops.topk(among, ops.constant(np.int64(1)), 1, "min", "none").output(1)
    fold = ops.reshape(fold, integers(count, kept), False)
    found = ops.add(ops.multiply(fold, ops.constant(np.int32(width))), column)
    return ops.sqrt(_measure(queries, found, vectors[rows])).output(0)


def _measure(queries: _Value, rows: _Value, vectors: _Vectors) -> _Value:
    """The least squared distance to some rows each, (query, row), of the vectors, (query,)."""
    near = _rows(floats(vectors), rows)
    difference = ops.subtract(near, ops.unsqueeze(queries, integers(1)))
    squared = ops.reduce_sum(ops.multiply(difference, difference), integers(2), False)
    return ops.reduce_min(squared, integers(1), False).output(0)


def _smallest(values: Any, count: int) -> list[_Value]:
    """The smallest of each row in order, and their columns; both (row, count)."""
    if values.get_output_shape(0)[0] == 1:
        top = ops.topk(values, ops.constant(np.int64(count)), 1, "min", "value")
        return [top.output(0), top.output(1)]
    # Along the first axis, which takes a quarter of the time.
    across = ops.transpose(values, integers(1, 0))
    top = ops.topk(across, ops.constant(np.int64(count)), 0, "min", "value")
    smallest, columns = (ops.transpose(output, integers(1, 0)) for output in top.outputs())
    return [smallest.output(0), columns.output(0)]


def _rows(values: _Value, rows: _Value) -> _Value:
    return ops.gather(values, rows, ops.constant(np.int64(0))).output(0)


def _columns(values: _Value, start: int, stop: int) -> _Value:
    return ops.slice(values, [start], [stop], [1], [1]).output(0)


def _norm(values: Any) -> _Value:
    return ops.reduce_l2(values, integers(1), False).output(0)


def integers(*values: int) -> _Value:
    """A constant of 64-bit integers in a graph, as shapes and axes are given.

    Args:
        values: its elements.
    """
    return ops.constant(np.array(values, np.int64)).output(0)


def floats(values: Any) -> _Value:
    """A constant in single precision in a graph.

    Args:
        values: a number or an array.
    """
    return ops.constant(np.asarray(values, np.float32)).output(0)
