"""Rail-PatchCore (Zhang et al. 2025), reconstructed; `Gated` says what is known of it."""

from __future__ import annotations

from typing import Any

from flawmap.features.context import Gated
from flawmap.methods.patchcore import PatchCore


def rail_patchcore(**options: Any) -> PatchCore:
    """PatchCore with gates on rows and columns.

    Args:
        options: of `PatchCore`, in place of the gates.

    Example:
        >>> rail_patchcore().context.gate
        'dual_axis'
    """
    return PatchCore(**{"context": Gated(gate="dual_axis")} | options)
