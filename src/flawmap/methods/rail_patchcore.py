"""Rail-PatchCore (Zhang et al.

2025), reconstructed: its article is closed; see `Gated` for what is known of it.
"""

from __future__ import annotations

from typing import Any

from flawmap.features.context import Gated
from flawmap.methods.patchcore import PatchCore


def rail_patchcore(**options: Any) -> PatchCore:
    """Make PatchCore with gates on rows and columns; any option may be given otherwise."""
    return PatchCore(**{"context": Gated(gate="dual_axis")} | options)
