"""The nearest of many vectors, by L2 distance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from flawmap.memory.matmul import squared_distance_terms
from flawmap.support.tensors import Patches

ELEMENTS_PER_BLOCK = 2**21
"""Most numbers in one block of products by default: 8 MB, which a cache holds."""


class Nearest(NamedTuple):
    """For each query its nearest vector.

    Args:
        distances: distance to it, >= 0.
        rows: its row, from 0.
        inside: where the queries are patches of images, 1 for each that counts and 0 for padding,
            (image, row · column); None where all count.
    """

    distances: Tensor
    rows: Tensor
    inside: Tensor | None = None


def nearest(
    queries: Patches,
    vectors: Patches,
    *,
    squares: Tensor | None = None,
    elements_per_block: int = ELEMENTS_PER_BLOCK,
) -> Nearest:
    """Each query's nearest vector.

    Which is nearest follows from ‖v‖² − 2 q·v, one matrix product. How far it is follows from the
    difference of the two vectors: in float32 the product loses the small distances between large
    vectors, and a vector's distance to itself shall be zero.

    Args:
        queries: (query, channel).
        vectors: those to search, (vector, channel).
        squares: ‖v‖² of each vector, (vector,); None works them out.
        elements_per_block: most numbers in one block of products.

    Returns:
        Distances and rows, (query,).

    Example:
        >>> nearest(torch.tensor([[5.0]]), torch.tensor([[0.0], [7.0]]))
        Nearest(distances=tensor([2.]), rows=tensor([1]), inside=None)
    """
    if squares is None:
        squares = vectors.square().sum(dim=1)
    if torch.compiler.is_exporting():
        # A graph is traced for any number of queries, so it takes them all at once.
        return _nearest_in_graph(queries, vectors, squares)
    rows_per_block = max(1, elements_per_block // len(vectors))
    distances = queries.new_empty(len(queries))
    rows = torch.empty(len(queries), dtype=torch.long, device=queries.device)
    for start in range(0, len(queries), rows_per_block):
        block = slice(start, start + rows_per_block)
        found = _nearest(queries[block], vectors, squares)
        distances[block], rows[block] = found.distances, found.rows
    return Nearest(distances, rows)


def distance_to_nearest(
    queries: Patches, sets: Sequence[Patches], *, elements_per_block: int = ELEMENTS_PER_BLOCK
) -> Tensor:
    """Distance of each query to the nearest vector of all sets, without a copy of them all.

    Only the set that holds the minimum is searched for the vector itself: a minimum takes a third
    of the time of an argmin.

    Args:
        queries: (query, channel).
        sets: one or more sets of vectors, each (vector, channel).
        elements_per_block: most numbers in one block of products.

    Returns:
        (query,), >= 0.

    Example:
        >>> distance_to_nearest(torch.zeros(1, 1), [torch.tensor([[3.0]]), torch.tensor([[-2.0]])])
        tensor([2.])
    """
    minima = [_minimum_terms(queries, vectors, elements_per_block) for vectors in sets]
    nearest_set = torch.stack(minima).argmin(dim=0)
    distances = queries.new_empty(len(queries))
    for number, vectors in enumerate(sets):
        members = (nearest_set == number).nonzero()[:, 0]
        if len(members):
            near = nearest(queries[members], vectors, elements_per_block=elements_per_block)
            distances[members] = near.distances
    return distances


def _minimum_terms(queries: Tensor, vectors: Tensor, elements_per_block: int) -> Tensor:
    """The least of ‖v‖² − 2 q·v for each query."""
    squares = vectors.square().sum(dim=1)
    blocks = queries.split(max(1, elements_per_block // len(vectors)))
    minima = [squared_distance_terms(block, vectors, squares).amin(dim=1) for block in blocks]
    return torch.cat(minima)


def _nearest(queries: Tensor, vectors: Tensor, squares: Tensor) -> Nearest:
    rows = squared_distance_terms(queries, vectors, squares).argmin(dim=1)
    return _measure(queries, vectors, rows)


def _nearest_in_graph(queries: Tensor, vectors: Tensor, squares: Tensor) -> Nearest:
    """The same for OpenVINO, whose argmin over thousands of columns takes longer than the product.

    So the least is sought among folds of the columns first, all at once, and then twice among a
    few.
    """
    count = len(vectors)
    folds = max(1, round(count**0.5))
    empty = -count % folds
    padded = functional.pad(vectors, (0, 0, 0, empty))
    far = functional.pad(squares, (0, empty), value=torch.inf)
    values = torch.addmm(far, queries, padded.T, alpha=-2).unflatten(1, (folds, -1))
    column = values.amin(dim=1).argmin(dim=1)
    candidates = column[:, None, None].expand(-1, folds, 1)
    fold = values.gather(2, candidates)[:, :, 0].argmin(dim=1)
    return _measure(queries, vectors, fold * values.shape[2] + column)


def _measure(queries: Tensor, vectors: Tensor, rows: Tensor) -> Nearest:
    """The distances to the vectors in these rows."""
    difference = queries - vectors[rows]
    return Nearest(difference.square().sum(dim=1).sqrt(), rows)
