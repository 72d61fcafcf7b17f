"""Fewer patches of an image, where there is no room for all: those that are most unlike each other.

What is rare in an image stays, as the coreset of all images would want it; a random share would
lose it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from flawmap.support.tensors import Indices, Patches


def thin(vectors: Patches, count: int, inside: Tensor | None = None) -> Indices:
    """Rows of an image's patches, each chosen as far as possible from those before (k-centre).

    Args:
        vectors: (patch, channel), of any floating type.
        count: how many rows, 1 to the number of patches.
        inside: whether each patch counts, (patch,); the others come last. None where all count.

    Returns:
        Row numbers in the order of choice, (count,); the first is the farthest from the mean.

    Example:
        >>> thin(torch.tensor([[0.0], [1.0], [2.0], [9.0], [8.0]]), 3).tolist()
        [3, 0, 2]
    """
    vectors = vectors.float()
    vectors = vectors - vectors.mean(dim=0)  # so that products lose less
    squares = vectors.square().sum(dim=1)
    bounds = squares.clone()
    if inside is not None:
        bounds.masked_fill_(~inside, 0)
    rows = torch.empty(count, dtype=torch.long)
    for number in range(count):
        row = int(bounds.argmax())
        rows[number] = row
        distances = torch.addmv(squares, vectors, vectors[row], alpha=-2).add_(squares[row])
        bounds = distances if number == 0 else torch.minimum(bounds, distances)
        # Copies may be left in the end, and padding behind them; no row comes twice.
        bounds.clamp_(min=0)
        if inside is not None:
            bounds.masked_fill_(~inside, -1)
        bounds[rows[: number + 1]] = -2
    return rows
