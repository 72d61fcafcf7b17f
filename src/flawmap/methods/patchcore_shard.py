"""What PatchCore extracts of a shard of good images, as tensors by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from flawmap.errors import OptionError
from flawmap.memory.scratch_rows import PatchRows
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


class Thinned(NamedTuple):
    """What images that kept only some of their patches were before.

    Args:
        patches: number of patches that count, of all images together.
        of_each: number of patches of each image, counted or not.
        images: embeds the images again, one by one and in order, each a batch of one.
    """

    patches: int
    of_each: int
    images: Callable[[], Iterator[Embedded]]


@dataclass(frozen=True, eq=False)
class GoodPatches:
    """The patches of all good images, in memory or in a file, and what belongs to them.

    Args:
        vectors: (patch, channel), image by image.
        grid: number of images, rows and columns of patches.
        size: height and width of the images, in pixels.
        transforms: affine transforms, (image, 2, 3), of each stage where images were registered.
        inside: 1 for each patch that counts and 0 for padding, (image, row · column); None where
            all count.
        thinned: where each image kept only some of its patches: what all of them are. The grid is
            then number of images, patches kept of each, and 1; the vectors are those kept, and the
            transforms are not here.
    """

    vectors: PatchRows
    grid: tuple[int, int, int]
    size: tuple[int, int]
    transforms: tuple[Tensor, ...] = ()
    inside: Tensor | None = None
    thinned: Thinned | None = None

    @classmethod
    def of_shards(cls, shards: Sequence[State]) -> GoodPatches:
        """The patches of all shards; of one shard without a copy.

        Args:
            shards: what `make_shard` returned for each, in the order of the images.
        """
        joined = {name: _join([shard[name] for shard in shards]) for name in shards[0]}
        images, rows, columns, channels = joined["grid"].shape
        height, width = shards[0]["size"].tolist()
        return cls(
            joined["grid"].reshape(-1, channels),
            (images, rows, columns),
            (height, width),
            tuple(joined[name] for name in sorted(joined) if name.startswith("transform")),
            joined.get("inside"),
        )

    @property
    def counted(self) -> int | None:
        """The number of patches that count before images were thinned; None where none was."""
        return self.thinned.patches if self.thinned else None

    @property
    def is_inside(self) -> Tensor | None:
        """Whether each patch counts, (patch,); None where all do."""
        return None if self.inside is None else self.inside.flatten() > 0

    def image(self, index: int, vectors: PatchRows) -> Embedded:
        """One image as an encoder returns it, a batch of one.

        Args:
            index: number of the image, from 0.
            vectors: of all patches, such as reduced ones, (patch, channel).
        """
        _, rows, columns = self.grid
        start = index * rows * columns
        patches = vectors[start : start + rows * columns]
        return Embedded(
            (patches.reshape(1, rows, columns, -1),),
            tuple(transform[index, None] for transform in self.transforms),
            None if self.inside is None else self.inside[index, None],
        )


def _join(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))


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
