"""SA-PatchCore (Ishida et al.

2023): the whole deep layer through self-attention, channel by channel.
"""

from __future__ import annotations

from typing import Any

from flawmap.features.context import PartialSelfAttention
from flawmap.methods.patchcore import PatchCore


def sa_patchcore(**options: Any) -> PatchCore:
    """Make PatchCore with the parts of that paper's code; any option may be given otherwise."""
    parts: dict[str, Any] = {
        "context": PartialSelfAttention(ratio=1.0, attend="per_channel"),
        "alignment": "nearest",
    }
    return PatchCore(**parts | options)
