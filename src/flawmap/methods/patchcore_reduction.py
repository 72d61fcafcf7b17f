"""Where PatchCore's vectors are made shorter: for the coreset alone, or for the bank as well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from flawmap.engine.run import best_device
from flawmap.errors import OptionError
from flawmap.features.reduction import Reducer, reduce_in_blocks
from flawmap.memory.scratch_rows import PatchRows, ScratchRows
from flawmap.support.tensors import Patches

ReducerScope = Literal["coreset", "bank"]
"""Where reduced vectors are used: to choose the coreset only, or in the bank too."""

_ReducedRows = Float[Tensor, "_patch _channel"] | ScratchRows
"""One vector per patch, perhaps with fewer channels."""

_HALF_ROWS_PER_BLOCK = 2**13
"""Vectors in half precision that are reduced at a time; 50 MB of a WideResNet's in single."""


class _ReducedVectors(NamedTuple):
    """What a reduction made of all patches.

    Args:
        kept: the vectors to keep in the bank.
        searched: the vectors that the coreset is chosen by.
        module: reduces new vectors as those of the bank are.
    """

    kept: _ReducedRows
    searched: _ReducedRows
    module: nn.Module


@dataclass(frozen=True)
class VectorReduction:
    """A reducer, and where its result is used.

    Args:
        reducer: makes vectors shorter.
        scope: where reduced vectors are used.
        blocks: lengths of the runs of channels that come from one source.
        seed: of everything random.
    """

    reducer: Reducer
    scope: ReducerScope
    blocks: tuple[int, ...]
    seed: int

    @property
    def is_early(self) -> bool:
        """Whether the encoder reduces: the bank's vectors are reduced, and that needs no fit."""
        return self.scope == "bank" and not self.reducer.needs_fit

    def early_module(self) -> nn.Module:
        """What the encoder reduces with; the identity where the head reduces, or nothing does."""
        if not self.is_early:
            return nn.Identity()
        unused = torch.empty(1, sum(self.blocks))
        return self.reducer.fit(unused, self.blocks, self.seed).to(best_device())

    def reduced_channels(self, patches: int) -> int:
        """The length of the vectors that a fit reduces to; 0 where it reduces none.

        Args:
            patches: how many the reducer is fitted to.
        """
        if self.is_early:
            return 0
        channels = sum(self.blocks)
        if self.reducer.reads_vectors:
            return channels  # It may be less.
        module = self.reducer.fit(
            torch.empty(patches, channels, device="meta"), self.blocks, self.seed
        )
        return 0 if isinstance(module, nn.Identity) else module(torch.zeros(1, channels)).shape[1]

    def fit(self, vectors: PatchRows, inside: Tensor | None = None) -> _ReducedVectors:
        """Reduce all patches; an early reduction has done so already.

        Args:
            vectors: all patches, (patch, channel); the reduced ones of a file are in a file beside
                it.
            inside: whether each patch counts, (patch,): to padding nothing is fitted; None where
                all count.

        Raises:
            OptionError: the vectors are in a file, and the reducer is fitted to all of them.
        """
        if self.is_early:
            return _ReducedVectors(vectors, vectors, self.early_module())
        if isinstance(vectors, ScratchRows) and self.reducer.reads_vectors:
            raise OptionError(
                f"{type(self.reducer).__name__} is fitted to all vectors at once, which cannot be "
                "kept within --memory; choose another reducer, or leave --memory out"
            )
        module = self.reducer.fit(self._to_fit(vectors, inside), self.blocks, self.seed)
        searched = reduce_rows(module, vectors)
        if self.scope == "coreset":
            return _ReducedVectors(vectors, searched, nn.Identity())
        return _ReducedVectors(searched, searched, module.to(best_device()))

    def _to_fit(self, vectors: PatchRows, inside: Tensor | None) -> Patches:
        """The vectors that the reducer is fitted to; of a file only as many as there are."""
        if isinstance(vectors, ScratchRows):
            return torch.empty(vectors.shape, device="meta")
        return vectors[inside] if inside is not None and self.reducer.needs_fit else vectors


def reduce_rows(reduction: nn.Module, vectors: PatchRows) -> _ReducedRows:
    """The vectors reduced block by block; those of a file go to a file beside it.

    Args:
        reduction: makes vectors shorter; where it is the identity, the vectors come back as they
            are.
        vectors: (patch, channel).
    """
    if isinstance(vectors, Tensor):
        rows = _HALF_ROWS_PER_BLOCK if vectors.dtype == torch.float16 else 2**16
        return reduce_in_blocks(reduction, vectors, rows)
    if isinstance(reduction, nn.Identity):
        return vectors
    file = vectors.file.with_name(f"{vectors.file.name}.reduced")
    file.unlink(missing_ok=True)  # of a run that was killed
    reduced = ScratchRows(file, reduction(vectors[:1].float()).shape[1], vectors.dtype)
    for block in vectors.split(_HALF_ROWS_PER_BLOCK):
        reduced.append(reduction(block.float()))
    return reduced
