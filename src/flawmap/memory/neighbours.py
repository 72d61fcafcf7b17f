"""The nearest of many vectors, by true L2 distance."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from flawmap.tensors import Patches

BLOCK = 2**23
"""Numbers in one block of products, at most: 32 MB."""


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

    Which is nearest follows from ‖v‖² − 2 q·v, one matrix product. How far it is follows from the difference of the two
    vectors: in float32 the product loses the small distances between large vectors, and a vector's distance to itself
    shall be zero.
    """
    if squares is None:
        squares = vectors.square().sum(dim=1)
    if torch.compiler.is_exporting():
        # A graph is traced for any number of queries, so it takes them all at once.
        return _nearest(queries, vectors, squares)
    at_once = max(1, BLOCK // len(vectors))
    found = [_nearest(chunk, vectors, squares) for chunk in queries.split(at_once)]
    return Nearest(torch.cat([part.distances for part in found]), torch.cat([part.rows for part in found]))


def _nearest(queries: Tensor, vectors: Tensor, squares: Tensor) -> Nearest:
    rows = torch.addmm(squares, queries, vectors.T, alpha=-2).argmin(dim=1)
    return Nearest((queries - vectors[rows]).square().sum(dim=1).sqrt(), rows)
