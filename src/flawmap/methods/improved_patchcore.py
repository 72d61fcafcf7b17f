"""The improved PatchCore (Li et al. 2025).

Self-attention for half of the deepest layer, and channel aggregation. Its third change, a
fine-tuned backbone, is `Inspector(finetune=...)` or `--finetune`; its backbone is
wide_resnet50_2.tv_in1k.
"""

from __future__ import annotations

from typing import Any

from flawmap.features.aggregation import ChannelAggregation
from flawmap.features.context import PartialSelfAttention
from flawmap.methods.patchcore import PatchCore


def improved_patchcore(**options: Any) -> PatchCore:
    """PatchCore with the components of Li et al. 2025.

    Args:
        options: of `PatchCore`, in place of the paper's.

    Example:
        >>> improved_patchcore(coreset=0.1).context.ratio
        0.5
    """
    preset: dict[str, Any] = {
        "context": PartialSelfAttention(ratio=0.5),
        "reducer": ChannelAggregation(ratio=0.1),
        "reducer_scope": "bank",
    }
    return PatchCore(**preset | options)
