"""What PatchCore extracts of a shard of good images, as tensors by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from flawmap.errors import OptionError
from flawmap.methods.base import State
from flawmap.support.tensors import Embedded, PatchGrid

VectorPrecision = Literal["f32", "f16"]
"""What the vectors of good images are kept in while the coreset is chosen."""


def make_shard(embedded: Embedded, size: Sequence[int]) -> State:
    """A shard of embedded images.

    Args:
        embedded: one patch grid (image, row, column, channel), and what belongs to it.
        size: height and width of the images, in pixels.

    Returns:
        `grid`, `size`, `transform0`, … where images were registered, and `inside` where they may be
        padded.

    Example:
        >>> sorted(make_shard(Embedded((torch.zeros(1, 8, 8, 5),)), (64, 64)))
        ['grid', 'size']
    """
    (grid,), transforms, inside = embedded
    named = {f"transform{stage}": tensor for stage, tensor in enumerate(transforms)}
    if inside is not None:
        named["inside"] = inside
    return {"grid": grid, "size": torch.tensor(size), **named}


def join_grids(shards: Sequence[State]) -> PatchGrid:
    """The patch grids of all shards, (image, row, column, channel); of one shard without a copy.

    Args:
        shards: what `make_shard` returned for each.
    """
    grids = [shard["grid"] for shard in shards]
    return grids[0] if len(grids) == 1 else torch.cat(grids)


def join_inside(shards: Sequence[State]) -> Tensor | None:
    """Whether each patch of all shards counts, (patch,); None where all do.

    Args:
        shards: what `make_shard` returned for each.
    """
    if "inside" not in shards[0]:
        return None
    return torch.cat([shard["inside"].flatten() for shard in shards]) > 0


def embedded_of(shard: State, grid: PatchGrid) -> Embedded:
    """A shard's images as the encoder returned them, with another grid.

    Args:
        shard: what `make_shard` returned.
        grid: the vectors to take, such as reduced ones, (image, row, column, channel).
    """
    names = sorted(name for name in shard if name.startswith("transform"))
    return Embedded((grid,), tuple(shard[name] for name in names), shard.get("inside"))


def in_precision(grid: PatchGrid, precision: VectorPrecision) -> PatchGrid:
    """A patch grid in the precision that it is kept in.

    Args:
        grid: (image, row, column, channel), in single precision.
        precision: `f16` takes half the memory.

    Raises:
        OptionError: the numbers are too large for half precision.

    Example:
        >>> in_precision(torch.ones(1, 1, 1, 2), "f16").dtype
        torch.float16
    """
    if precision == "f32":
        return grid
    kept = grid.half()
    if not kept.isfinite().all():
        raise OptionError(
            "the backbone's numbers are too large for half precision; use vector_precision=f32"
        )
    return kept
