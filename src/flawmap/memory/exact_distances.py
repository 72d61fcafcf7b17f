"""Distances that may be trusted to the last bit, and fast ones that say how far they may be off.

The exact ones are float64 norms of differences. The fast ones are float32, and what they may have
lost by rounding is added, so that they are never below the exact ones.
"""

from __future__ import annotations

import math
from contextlib import suppress

import torch
from torch import Tensor

from flawmap.support.tensors import Patches


def exact_distances(vectors: Patches, others: Patches) -> Tensor:
    """Distances row by row, or of all rows to the single row of `others`, in float64.

    Each distance is summed in an order of its own that does not depend on the other rows, so equal
    pairs of vectors have equal distances to the last bit, and ties stay ties.

    Args:
        vectors: (row, channel).
        others: (row, channel), or (1, channel).

    Returns:
        (row,), >= 0.

    Example:
        >>> exact_distances(torch.tensor([[3.0, 4.0], [0.0, 1.0]]), torch.zeros(1, 2))
        tensor([5., 1.], dtype=torch.float64)
    """
    left = vectors.double()
    right = others.double()
    if len(right) > 1:
        left = left.unsqueeze(1)
        right = right.unsqueeze(1)
    return torch.cdist(left, right, compute_mode="donot_use_mm_for_euclid_dist").flatten()


def upper_bounds(vectors: Patches, others: Patches) -> Tensor:
    """Distances row by row in float32 at least, plus the largest possible rounding error.

    Args:
        vectors: (row, channel).
        others: (row, channel).

    Returns:
        (row,), in float64, never below `exact_distances`.

    Example:
        >>> bool(upper_bounds(torch.ones(1, 3), torch.zeros(1, 3)) >= 3**0.5)
        True
    """
    dtype = torch.promote_types(vectors.dtype, torch.float32)
    difference = vectors.to(dtype) - others.to(dtype)
    distances: Tensor = torch.linalg.vector_norm(difference, dim=1).double()
    width = vectors.shape[1]
    limits = torch.finfo(dtype)
    return distances * (1 + (width + 8) * limits.eps) + 2 * math.sqrt(width * limits.tiny)


def nearest_candidates(vectors: Patches, centres: Patches, squares: Tensor) -> Tensor:
    """Pairs of each row with every centre that may be its nearest.

    u² + v² - 2uv, of u and v as rounded, is within `doubt` × (u² + v²) of the squared distance, in
    whatever order the sums are taken. A candidate is a centre whose least possible distance is no
    more than the largest possible distance of the nearest one.

    Args:
        vectors: (row, channel).
        centres: (centre, channel), of the same type.
        squares: ‖c‖² of each centre, (centre,).

    Returns:
        Row and centre of each pair, (pair, 2).

    Example:
        >>> centres = torch.tensor([[0.0], [9.0]])
        >>> nearest_candidates(torch.tensor([[1.0]]), centres, centres.square().sum(1))
        tensor([[0, 0]])
    """
    limits = torch.finfo(vectors.dtype)
    doubt = 2 * (vectors.shape[1] + 16) * limits.eps
    # The last term stands for what is too small for a number of its own.
    slack = doubt * (squares + limits.tiny / limits.eps)
    # Less u², which is the same for all centres.
    largest = torch.addmm(squares + slack, vectors, centres.T, alpha=-2)
    edge = largest.amin(1) + 2 * doubt * vectors.square().sum(1)
    return (largest.sub_(2 * slack) <= edge.unsqueeze(1)).nonzero()


def rough_argmin(values: Tensor) -> Tensor:
    """The column of about the least value of each row; ten times faster than argmin on a CPU.

    The columns are written into the last bits of `values`, so values that differ in these alone
    count as equal.

    Args:
        values: (row, column), in float32; overwritten.

    Example:
        >>> rough_argmin(torch.tensor([[3.0, 1.0, 2.0]])).tolist()
        [1]
    """
    column_bits = (1 << (values.shape[1] - 1).bit_length()) - 1
    columns = torch.arange(values.shape[1], dtype=torch.int32, device=values.device)
    values.view(torch.int32).bitwise_and_(~column_bits).bitwise_or_(columns)
    least = values.amin(1).view(torch.int32).bitwise_and(column_bits)
    return least.clamp(max=values.shape[1] - 1)  # NaN has bits of its own


def product_type() -> torch.dtype:
    """float32 for products, or float64 where torch may compute them with fewer bits."""
    with suppress(RuntimeError):  # it was set for some backends only
        if torch.get_float32_matmul_precision() == "highest":
            return torch.float32
    return torch.float64
