from __future__ import annotations

from flawmap.features.aggregation import ChannelAggregation
from flawmap.features.context import Neighbourhood, PartialSelfAttention
from flawmap.methods.improved_patchcore import improved_patchcore


def test_half_attends_and_a_tenth_is_kept() -> None:
    method = improved_patchcore()
    assert method.context == PartialSelfAttention(ratio=0.5)
    assert method.reducer == ChannelAggregation(ratio=0.1)
    assert method.reducer_scope == "bank"
    assert improved_patchcore(context=Neighbourhood()).context == Neighbourhood()
