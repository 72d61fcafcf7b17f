"""The improved PatchCore (Li et al.

2025): self-attention for half of the deepest layer, channel aggregation.

Its third change, a fine-tuned backbone, is the choice of the weights. The paper's backbone is
wide_resnet50_2.tv_in1k.
"""

from __future__ import annotations

from typing import Any

from flawmap.features.context import PartialSelfAttention
from flawmap.features.reducers import ChannelAggregation
from flawmap.methods.patchcore import PatchCore


def improved_patchcore(**options: Any) -> PatchCore:
    """Make PatchCore with the paper's parts; any option may be given otherwise."""
    parts: dict[str, Any] = {
        "context": PartialSelfAttention(ratio=0.5),
        "reducer": ChannelAggregation(ratio=0.1),
        "reducer_scope": "bank",
    }
    return PatchCore(**parts | options)
