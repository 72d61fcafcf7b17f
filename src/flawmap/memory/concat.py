"""Joining what comes batch by batch, in memory that holds it once."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def concat_batches(batches: Iterable[list[Tensor]], expected: int) -> list[Tensor]:
    """Join tensors along their first axis as they come.

    The first of each batch, the second of each, and so on.

    What is reserved for `expected` batches and not used takes no memory; kept one by one and joined
    at the end the tensors would take it twice. Nothing for no batches.
    """
    whole: list[Tensor] = []
    count = 0
    for tensors in batches:
        came = len(tensors[0])
        whole = whole or [
            tensor.new_empty(max(1, expected) * came, *tensor.shape[1:]) for tensor in tensors
        ]
        if count + came > len(whole[0]):
            both = zip(whole, tensors, strict=True)
            whole = [
                torch.cat([old[:count], torch.empty_like(old), torch.empty_like(tensor)])
                for old, tensor in both
            ]
        for place, tensor in zip(whole, tensors, strict=True):
            place[count : count + came] = tensor
        count += came
    return [tensor[:count] for tensor in whole]
