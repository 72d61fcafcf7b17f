"""What an exact search needs of a bank: its vectors in folds and in eight bits, with their errors.

NumPy alone makes it, from the vectors of the bank, so that a bank can be replaced without torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int8

FOLD = 64
"""Vectors in a fold: small enough to look through several folds for every query."""

_LEVELS = 127
"""Largest code of a number in eight bits; the smallest is its negative."""

_CLIPPED = 99.98
"""Percentile of the bank's numbers above which a query's numbers are clipped."""

_SAMPLE = 256
"""Vectors of the bank whose distance to their nearest one says how far queries will be."""

_FAR = 1e30
"""Added to the key of a row that only fills up a fold."""

_Vectors = Float[np.ndarray, "vector channel"]
_Codes = Int8[np.ndarray, "vector channel"]
_PerVector = Float[np.ndarray, " vector"]
_PerChannel = Float[np.ndarray, " channel"]


@dataclass(frozen=True, eq=False)
class SearchIndex:
    """A bank in folds of near vectors, each also in eight bits.

    Write q̂ and m̂ for a query and a vector in eight bits, less the centre. By the triangle
    inequality ‖q − m‖ ≥ ‖q̂ − m̂‖ − ‖q − q̂‖ − ‖m − m̂‖, and ‖q̂ − m̂‖² = ‖q̂‖² + ‖m̂‖² − 2 q̂·m̂
    takes one product of small integers. Here ‖m̂‖² is lessened by what the error ‖m − m̂‖ of the
    vector exceeds the least error by, as far as that counts for a query whose bound is up to
    `reach`.

    Args:
        count: vectors of the bank.
        vectors: in the order of the folds, the last row repeated up to a full fold, (row, channel).
        centre: mean of the bank, (channel,).
        codes: the vectors less the centre, divided by `scales` and rounded, (row, channel).
        scales: of each row, (row,), > 0.
        offsets: ‖m̂‖², lessened as above, (row,).
        query_limit: queries less the centre are clipped to ± this, > 0.
        least_error: the least ‖m − m̂‖.
        excess: the largest ‖m − m̂‖ less the least.
        reach: bound up to which the offsets account for all of a vector's error.
        radius: the largest ‖m̂‖.
    """

    count: int
    vectors: _Vectors
    centre: _PerChannel
    codes: _Codes
    scales: _PerVector
    offsets: _PerVector
    query_limit: float
    least_error: float
    excess: float
    reach: float
    radius: float

    @property
    def folds(self) -> int:
        """The number of folds."""
        return len(self.vectors) // FOLD


def build_index(vectors: _Vectors) -> SearchIndex:
    """The index of a bank.

    Args:
        vectors: of the bank, (vector, channel), one or more, finite.

    Example:
        >>> index = build_index(np.arange(180, dtype=np.float32).reshape(90, 2))
        >>> index.folds, index.codes.dtype
        (2, dtype('int8'))
    """
    centre = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = vectors.astype(np.float64) - centre
    order = _order_in_folds(centred)
    rows = np.concatenate([order, np.repeat(order[-1:], -len(order) % FOLD)])
    centred = centred[rows]
    largest = np.abs(centred).max(axis=1, keepdims=True)
    scales = (np.maximum(largest, 1e-30) / _LEVELS).astype(np.float32)
    codes = np.clip(np.rint(centred / scales), -_LEVELS, _LEVELS).astype(np.int8)
    decoded = codes * scales.astype(np.float64)
    errors = np.linalg.norm(centred - decoded, axis=1)
    squares = np.square(decoded).sum(axis=1)
    least = float(errors.min())
    reach = _typical_distance(centred) + 2 * float(np.median(errors))
    excess = errors - least
    offsets = squares - 2 * reach * excess - np.square(excess)
    offsets[len(order) :] += _FAR
    return SearchIndex(
        count=len(vectors),
        vectors=np.ascontiguousarray(vectors[rows], dtype=np.float32),
        centre=centre,
        codes=codes,
        scales=scales[:, 0],
        offsets=offsets.astype(np.float32),
        query_limit=max(float(np.percentile(np.abs(centred), _CLIPPED)), 1e-20),
        least_error=least,
        excess=float(excess.max()),
        reach=reach,
        radius=float(np.sqrt(squares.max())),
    )


def _order_in_folds(centred: _Vectors) -> np.ndarray:
    """Rows so ordered that near vectors share a fold: halved again and again where they spread."""
    axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :32]
    projected = centred @ axes
    order = []
    pending = [(np.arange(len(centred)), -(-len(centred) // FOLD))]
    while pending:
        rows, folds = pending.pop()
        if folds == 1:
            order.append(rows)
            continue
        axis = projected[rows].var(axis=0).argmax()
        rows = rows[projected[rows, axis].argsort(kind="stable")]
        cut = folds // 2 * FOLD
        pending += [(rows[cut:], folds - folds // 2), (rows[:cut], folds // 2)]
    return np.concatenate(order)


def _typical_distance(centred: _Vectors) -> float:
    """The median distance of a vector to the nearest other one, from a sample."""
    step = max(1, len(centred) // _SAMPLE)
    vectors = centred.astype(np.float32)
    squares = np.square(vectors).sum(axis=1)
    squared = squares[::step, None] + squares - 2 * vectors[::step] @ vectors.T
    # The least is the vector itself.
    near = np.partition(squared, min(1, len(vectors) - 1), axis=1)[:, min(1, len(vectors) - 1)]
    return float(np.sqrt(np.maximum(np.median(near), 0)))
