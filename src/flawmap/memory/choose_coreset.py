"""Which patches of the good images become the bank."""

from __future__ import annotations

import torch
from torch import Tensor

from flawmap.memory.coreset import k_center_greedy
from flawmap.memory.scratch_rows import PatchRows
from flawmap.support.tensors import Indices


def bank_rows(patches: int, fraction: float, max_rows: int | None) -> int:
    """How many patches become the bank.

    Args:
        patches: of all images.
        fraction: of them that is kept, more than 0 and at most 1; at least one is.
        max_rows: most patches that are kept; None for no other limit.

    Example:
        >>> bank_rows(1000, 0.1, None), bank_rows(1000, 0.1, 50)
        (100, 50)
    """
    wanted = max(1, int(patches * fraction))
    return min(wanted, max_rows or wanted)


def choose_coreset(
    vectors: PatchRows,
    fraction: float,
    *,
    max_rows: int | None = None,
    seed: int = 0,
    inside: Tensor | None = None,
    patches: int | None = None,
) -> Indices:
    """The rows of the coreset, in ascending order on the CPU.

    Args:
        vectors: all patches, (patch, channel), on the device to compute on.
        fraction: of the patches that is kept, more than 0 and at most 1; at least one is.
        max_rows: most patches that are kept; None for no other limit.
        seed: of the first patch; the others follow.
        inside: whether each patch counts, (patch,): padding is not chosen, nor counted in the
            fraction; None where all count.
        patches: that the fraction is of, where the vectors are but a part of them; None for those
            that count.

    Example:
        >>> vectors = torch.tensor([[0.0], [1.0], [9.0], [5.0]])
        >>> choose_coreset(vectors, 1.0, inside=torch.tensor([True, False, True, False])).tolist()
        [0, 2]
    """
    available = len(vectors) if inside is None else int(inside.sum())
    count = min(available, bank_rows(patches or available, fraction, max_rows))
    generator = torch.Generator().manual_seed(seed)
    start = int(torch.randint(available, (), generator=generator))
    if inside is not None:
        inside = inside.to(vectors.device)
        start = int(inside.nonzero()[start])
    return k_center_greedy(vectors, count, start=start, among=inside).cpu().sort().values
