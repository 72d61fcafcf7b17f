"""PatchCore as others run it: its authors' code, its paper's image score, a small network."""

from __future__ import annotations

from typing import Any

from flawmap.features.context import PooledNeighbourhood
from flawmap.features.reducers import UniformRandomProjection
from flawmap.memory.bank import Reweighted
from flawmap.methods.patchcore import PatchCore


def patchcore_official(**options: Any) -> PatchCore:
    """PatchCore as its authors' repository runs it (Roth et al. 2022).

    Neighbourhoods are pooled to 1024 numbers, and a coreset of 10 % is searched in a random linear
    projection to 128 numbers. Two things differ from that code, on purpose: distances are true
    ones where it squares them, and the coreset starts from one random patch that stays in it.

    Args:
        options: of `PatchCore`, in place of those above.

    Example:
        >>> patchcore_official().coreset
        0.1
    """
    preset: dict[str, Any] = {
        "context": PooledNeighbourhood(length=1024),
        "reducer": UniformRandomProjection(128),
        "coreset": 0.1,
    }
    return PatchCore(**preset | options)


def patchcore_paper(**options: Any) -> PatchCore:
    """PatchCore with the image score of its paper's eqs. 6–7, which its authors' code omits.

    Args:
        options: of `PatchCore`, in place of that image score.

    Example:
        >>> patchcore_paper().image_score
        Reweighted(neighbours=9)
    """
    preset: dict[str, Any] = {"image_score": Reweighted(neighbours=9)}
    return PatchCore(**preset | options)


def patchcore_resnet18(**options: Any) -> PatchCore:
    """PatchCore on ResNet-18, as Du and Zhang 2023 run it for light weight: 384 numbers a patch.

    Args:
        options: of `PatchCore`, in place of that backbone.

    Example:
        >>> patchcore_resnet18().backbone
        'resnet18.tv_in1k'
    """
    return PatchCore(**{"backbone": "resnet18.tv_in1k"} | options)
