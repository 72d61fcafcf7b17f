"""The nearest of many vectors, by true L2 distance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from flawmap.memory.matmul import squared_distance_terms
from flawmap.support.tensors import Patches

ELEMENTS_PER_BLOCK = 2**21
"""Numbers in one block of products, at most: 8 MB, which a cache holds."""


class Nearest(NamedTuple):
    """For each query the distance to its nearest vector, and that vector's row."""

    distances: Tensor
    rows: Tensor


def nearest(queries: Patches, vectors: Patches, *, squares: Tensor | None = None) -> Nearest:
    """Find each query's nearest vector.

    Args:
        queries: (query, channel).
        vectors: those to search (vector, channel).
        squares: ‖v‖² of each vector, where the caller keeps it.

    Which is nearest follows from ‖v‖² − 2 q·v, one matrix product. How far it is follows from the
    difference of the two
    vectors: in float32 the product loses the small distances between large vectors, and a vector's
        distance to itself shall be zero.
    """
    if squares is None:
        squares = vectors.square().sum(dim=1)
    if torch.compiler.is_exporting():
        # A graph is traced for any number of queries, so it takes them all at once.
        return _nearest_in_graph(queries, vectors, squares)
    at_once = max(1, ELEMENTS_PER_BLOCK // len(vectors))
    found = Nearest(
        queries.new_empty(len(queries)),
        torch.empty(len(queries), dtype=torch.long, device=queries.device),
    )
    for start in range(0, len(queries), at_once):
        block = slice(start, start + at_once)
        found.distances[block], found.rows[block] = _nearest(queries[block], vectors, squares)
    return found


def distance_to_nearest(queries: Patches, sets: Sequence[Patches]) -> Tensor:
    """Distance of each query to the nearest vector of all sets (query,).

    No copy holds all sets.

    Only in the set that has it is the vector itself sought: a least number takes a third of the
    time of its place.
    """
    which = torch.stack([_least(queries, vectors) for vectors in sets]).argmin(dim=0)
    distances = queries.new_empty(len(queries))
    for number, vectors in enumerate(sets):
        there = (which == number).nonzero()[:, 0]
        if len(there):
            distances[there] = nearest(queries[there], vectors).distances
    return distances


def _least(queries: Tensor, vectors: Tensor) -> Tensor:
    squares = vectors.square().sum(dim=1)
    blocks = queries.split(max(1, ELEMENTS_PER_BLOCK // len(vectors)))
    return torch.cat(
        [squared_distance_terms(block, vectors, squares).amin(dim=1) for block in blocks]
    )


def _nearest(queries: Tensor, vectors: Tensor, squares: Tensor) -> Nearest:
    rows = squared_distance_terms(queries, vectors, squares).argmin(dim=1)
    return _measure(queries, vectors, rows)


def _nearest_in_graph(queries: Tensor, vectors: Tensor, squares: Tensor) -> Nearest:
    """The same for OpenVINO.

    Its argmin over thousands of columns takes longer than the product.

    So the least is found among folds of the columns first, all at once, and then twice among a few.
    """
    count = len(vectors)
    folds = max(1, round(count**0.5))
    empty = -count % folds
    padded, far = (
        functional.pad(vectors, (0, 0, 0, empty)),
        functional.pad(squares, (0, empty), value=torch.inf),
    )
    values = torch.addmm(far, queries, padded.T, alpha=-2).unflatten(1, (folds, -1))
    column = values.amin(dim=1).argmin(dim=1)
    fold = values.gather(2, column[:, None, None].expand(-1, folds, 1))[:, :, 0].argmin(dim=1)
    return _measure(queries, vectors, fold * values.shape[2] + column)


def _measure(queries: Tensor, vectors: Tensor, rows: Tensor) -> Nearest:
    return Nearest((queries - vectors[rows]).square().sum(dim=1).sqrt(), rows)
