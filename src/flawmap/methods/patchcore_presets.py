"""PatchCore as others run it: its authors' code, its paper's score, a small network."""

from __future__ import annotations

from typing import Any

from flawmap.features.context import PooledNeighbourhood
from flawmap.features.reducers import UniformRandomProjection
from flawmap.memory.bank import Reweighted
from flawmap.methods.patchcore import PatchCore


def patchcore_official(**options: Any) -> PatchCore:
    """Make PatchCore as its authors' repository runs it.

    Neighbourhoods pooled to 1024 numbers, a coreset of 10 %.

    The coreset is searched in a random linear projection to 128 numbers. Two things differ from
    that code, on purpose: distances are true ones where it squares them, and the coreset starts
    from one random patch that stays in it.
    """
    parts: dict[str, Any] = {
        "context": PooledNeighbourhood(length=1024),
        "reducer": UniformRandomProjection(128),
        "coreset": 0.1,
    }
    return PatchCore(**parts | options)


def patchcore_paper(**options: Any) -> PatchCore:
    """Make PatchCore with the image score of its paper's eqs.

    6–7, which its authors' code leaves out.
    """
    parts: dict[str, Any] = {"image_score": Reweighted(neighbours=9)}
    return PatchCore(**parts | options)


def patchcore_resnet18(**options: Any) -> PatchCore:
    """Make PatchCore on ResNet-18, as Du and Zhang 2023 do for light weight.

    384 numbers a patch.
    """
    return PatchCore(**{"backbone": "resnet18.tv_in1k"} | options)
