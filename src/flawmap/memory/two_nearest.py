"""For each patch the nearest vector of a bank, and the nearest that another group brought."""

from __future__ import annotations

import time
from typing import NamedTuple

import torch
from torch import Tensor

from flawmap.memory.bank import Bank
from flawmap.memory.matmul import squared_distance_terms
from flawmap.memory.neighbours import ELEMENTS_PER_BLOCK
from flawmap.memory.scratch_rows import PatchRows
from flawmap.memory.threads import map_in_threads
from flawmap.support.progress import track

_TIMED_BLOCKS = 8
"""Blocks of each thread that tell how fast this machine is; 0.1 s."""


class TwoNearest(NamedTuple):
    """For each patch its nearest vector, and the nearest that another group brought.

    Args:
        squared: squared distance to the nearest.
        rows: its row.
        others_squared: squared distance to the nearest of other groups than that one's.
        others_rows: its row.
    """

    squared: Tensor
    rows: Tensor
    others_squared: Tensor
    others_rows: Tensor


def two_nearest(vectors: PatchRows, bank: Bank, bank_groups: Tensor) -> TwoNearest:
    """Search in blocks of patches, as many at a time as torch has threads.

    Args:
        vectors: all patches, (patch, channel).
        bank: to search, its vectors in the order of their groups.
        bank_groups: the group of each of its vectors, ascending.
    """
    device = bank.vectors.device
    starts = torch.searchsorted(bank_groups, bank_groups, side="left").to(device)
    ends = torch.searchsorted(bank_groups, bank_groups, side="right").to(device)
    rows_per_block = max(1, ELEMENTS_PER_BLOCK // len(bank.vectors))
    blocks = [
        slice(first, first + rows_per_block) for first in range(0, len(vectors), rows_per_block)
    ]
    result = TwoNearest(
        torch.empty(len(vectors), dtype=torch.float32),
        torch.empty(len(vectors), dtype=torch.int32),
        torch.empty(len(vectors), dtype=torch.float32),
        torch.empty(len(vectors), dtype=torch.int32),
    )

    @torch.inference_mode()  # a thread does not inherit it
    def fill(block: slice) -> None:
        # Written to its rows at once: small results kept one by one would settle where products
        # were, and break up the heap (13 GB for 761 images).
        values = _two_nearest_in_block(vectors[block].to(bank.vectors), bank, starts, ends)
        for target, tensor in zip(result, values, strict=True):
            target[block] = tensor

    for _ in track(map_in_threads(fill, blocks), "comparing good images", len(blocks)):
        pass
    return result


def _two_nearest_in_block(vectors: Tensor, bank: Bank, starts: Tensor, ends: Tensor) -> TwoNearest:
    squared = squared_distances(vectors, bank.vectors, bank.squares)
    first = squared.min(dim=1)
    start = starts[first.indices, None]
    end = ends[first.indices, None]
    # The columns of the nearest one's group, the last of them again where another group has more.
    offsets = torch.arange(int((end - start).max()), device=start.device)
    columns = torch.minimum(start + offsets, end - 1)
    second = squared.scatter_(1, columns, torch.inf).min(dim=1)
    return TwoNearest(first.values, first.indices, second.values, second.indices)


def squared_distances(vectors: Tensor, others: Tensor, squares: Tensor) -> Tensor:
    """‖v − o‖² by one matrix product; float32 loses what is small beside ‖v‖².

    Args:
        vectors: (vector, channel).
        others: (other, channel).
        squares: ‖o‖² of each other, (other,).
    """
    terms = squared_distance_terms(vectors, others, squares)
    return terms.add_(vectors.square().sum(dim=1, keepdim=True))


@torch.inference_mode()
def time_per_pair(rows: int, channels: int) -> float:
    """Seconds that this machine takes to compare a patch with a row of a bank; by a few blocks.

    Args:
        rows: of the bank.
        channels: numbers of a row.

    Example:
        >>> 0 < time_per_pair(100, 8) < 1
        True
    """
    generator = torch.Generator().manual_seed(0)
    vectors = torch.rand(rows, channels, generator=generator)
    bank = Bank(vectors, torch.arange(rows))
    patches = torch.rand(max(1, ELEMENTS_PER_BLOCK // rows), channels, generator=generator)
    order = torch.arange(rows)

    def compare(_: int) -> None:
        _two_nearest_in_block(patches, bank, order, order + 1)

    blocks = _TIMED_BLOCKS * torch.get_num_threads()
    compare(0)
    started = time.perf_counter()
    for _ in map_in_threads(torch.inference_mode()(compare), range(blocks)):
        pass
    return (time.perf_counter() - started) / (blocks * len(patches) * rows)
