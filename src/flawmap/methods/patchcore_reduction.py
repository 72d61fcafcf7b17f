"""Where PatchCore's vectors are made shorter: for the coreset alone, or for the bank as well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from flawmap.engine.run import best_device
from flawmap.features.reduction import Reducer, reduce_in_blocks
from flawmap.support.tensors import Patches

ReducerScope = Literal["coreset", "bank"]
"""Where reduced vectors are used: to choose the coreset only, or in the bank too."""

ReducedPatches = Float[Tensor, "_patch _channel"]
"""One vector per patch, perhaps with fewer channels."""


class _ReducedVectors(NamedTuple):
    """What a reduction made of all patches.

    Args:
        kept: the vectors to keep in the bank.
        searched: the vectors that the coreset is chosen by.
        module: reduces new vectors as those of the bank are.
    """

    kept: ReducedPatches
    searched: ReducedPatches
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

    def fit(self, vectors: Patches, inside: Tensor | None = None) -> _ReducedVectors:
        """Reduce all patches; an early reduction has done so already.

        Args:
            vectors: all patches, (patch, channel).
            inside: whether each patch counts, (patch,): to padding nothing is fitted; None where
                all count.
        """
        if self.is_early:
            return _ReducedVectors(vectors, vectors, self.early_module())
        fitted = vectors[inside] if inside is not None and self.reducer.needs_fit else vectors
        module = self.reducer.fit(fitted, self.blocks, self.seed)
        searched = reduce_in_blocks(module, vectors)
        if self.scope == "coreset":
            return _ReducedVectors(vectors, searched, nn.Identity())
        return _ReducedVectors(searched, searched, module.to(best_device()))
