"""SA-PatchCore (Ishida et al. 2023): the full deepest layer self-attends, channel by channel."""

from __future__ import annotations

from typing import Any

from flawmap.features.partial_attention import PartialSelfAttention
from flawmap.methods.patchcore import PatchCore


def sa_patchcore(**options: Any) -> PatchCore:
    """PatchCore with the components of the code of Ishida et al. 2023.

    Args:
        options: of `PatchCore`, in place of theirs.

    Example:
        >>> sa_patchcore().context.attend
        'per_channel'
    """
    preset: dict[str, Any] = {
        "context": PartialSelfAttention(ratio=1.0, attend="per_channel"),
        "alignment": "nearest",
    }
    return PatchCore(**preset | options)
