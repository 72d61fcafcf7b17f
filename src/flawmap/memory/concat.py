"""Concatenation of batches in memory that holds them once."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def concat_batches(batches: Iterable[list[Tensor]], expected: int) -> list[Tensor]:
    """The tensors of all batches, joined along their first axis as they come.

    Memory is reserved for all `expected` batches at once, and what is not used takes none; kept in
    a list and joined at the end, the tensors would take it twice.

    Args:
        batches: tensors of each batch; as many, and of the same shapes but for the first axis, in
            all of them.
        expected: number of batches; more may come, which takes a copy.

    Returns:
        The first tensors of all batches joined, the second ones joined, and so on; empty for no
        batches.

    Example:
        >>> first, second = [torch.zeros(2, 3), torch.ones(2)], [torch.zeros(1, 3), torch.ones(1)]
        >>> [tuple(tensor.shape) for tensor in concat_batches([first, second], expected=2)]
        [(3, 3), (3,)]
    """
    joined: list[Tensor] = []
    count = 0
    for tensors in batches:
        added = len(tensors[0])
        if not joined:
            rows = max(1, expected) * added
            joined = [tensor.new_empty(rows, *tensor.shape[1:]) for tensor in tensors]
        if count + added > len(joined[0]):
            joined = [
                torch.cat([old[:count], torch.empty_like(old), torch.empty_like(tensor)])
                for old, tensor in zip(joined, tensors, strict=True)
            ]
        for target, tensor in zip(joined, tensors, strict=True):
            target[count : count + added] = tensor
        count += added
    return [tensor[:count] for tensor in joined]
