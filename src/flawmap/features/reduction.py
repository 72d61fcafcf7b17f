"""What reducers share: their base class, and the modules that reduce.

A reducer is its options; `fit` returns the module that reduces. Where `needs_fit` is False, that
module follows from the seed and the number of channels alone, so vectors can be reduced batch by
batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from flawmap.support.tensors import Patches

_ReducedPatches = Float[Tensor, "_patch _channel"]
"""One vector per patch, with other channels than before."""


class Projection(nn.Module):
    """Vectors times a matrix, minus an offset.

    Args:
        matrix: (channel, reduced channel).
        offset: (reduced channel,); None for zeros.

    Example:
        >>> Projection(torch.ones(3, 1), torch.tensor([1.0]))(torch.ones(2, 3)).flatten()
        tensor([2., 2.])
    """

    def __init__(self, matrix: Tensor, offset: Tensor | None = None) -> None:
        super().__init__()
        self.matrix: Tensor
        self.offset: Tensor
        self.register_buffer("matrix", matrix)
        self.register_buffer("offset", torch.zeros(matrix.shape[1]) if offset is None else offset)

    def forward(self, vectors: Tensor) -> Tensor:
        """The reduced vectors, (..., reduced channel).

        Args:
            vectors: (..., channel).
        """
        return vectors @ self.matrix - self.offset


class GroupMax(nn.Module):
    """The largest of each group of channels.

    Args:
        groups: (group, member), numbers of channels from 0; a short group repeats some.

    Example:
        >>> GroupMax(torch.tensor([[0, 1], [2, 2]]))(torch.tensor([[5.0, 7.0, 1.0]]))
        tensor([[7., 1.]])
    """

    def __init__(self, groups: Tensor) -> None:
        super().__init__()
        self.groups: Tensor
        self.register_buffer("groups", groups)

    def forward(self, vectors: Tensor) -> Tensor:
        """The reduced vectors, (..., group).

        Args:
            vectors: (..., channel).
        """
        return vectors[..., self.groups].amax(dim=-1)


@dataclass(frozen=True)
class Reducer(ABC):
    """Options of a reduction.

    A reducer of your own is a frozen dataclass with this base, registered in `REDUCERS`; see
    docs/plugins.md.
    """

    needs_fit: ClassVar[bool] = False
    """Whether `fit` needs all the vectors at hand, or their number of channels alone."""

    reads_vectors: ClassVar[bool] = False
    """Whether `fit` looks at the vectors themselves, and not only at how many there are."""

    @abstractmethod
    def fit(self, vectors: Patches, blocks: tuple[int, ...], seed: int) -> nn.Module:
        """The module that reduces vectors like these, (..., channel) to (..., reduced channel).

        Args:
            vectors: those to reduce; without `needs_fit`, all but their channels is meaningless.
            blocks: lengths of the runs of channels that come from one source.
            seed: of everything random.
        """

    def load(self, state: dict[str, Tensor]) -> nn.Module:
        """The module that `fit` returned, from its tensors.

        Here a `Projection`, a `GroupMax` or the identity; a reducer with a module of its own
        overrides it.

        Args:
            state: the module's `state_dict`.
        """
        if "groups" in state:
            return GroupMax(state["groups"])
        return Projection(state["matrix"], state["offset"]) if state else nn.Identity()


def reduce_in_blocks(reduction: nn.Module, vectors: Patches, rows: int = 2**16) -> _ReducedPatches:
    """The vectors reduced block by block, so that only the result takes memory.

    Args:
        reduction: makes vectors shorter; where it is the identity, the vectors come back as they
            are.
        vectors: (patch, channel).
        rows: of a block, 1 or more.

    Example:
        >>> reduce_in_blocks(Projection(torch.ones(3, 1)), torch.ones(5, 3), rows=2).shape
        torch.Size([5, 1])
    """
    if isinstance(reduction, nn.Identity):
        return vectors
    blocks = vectors.split(rows)
    channels = reduction(blocks[0][:1].float()).shape[1]
    reduced = vectors.new_empty(len(vectors), channels)
    for target, block in zip(reduced.split(rows), blocks, strict=True):
        target.copy_(reduction(block.float()))
    return reduced
