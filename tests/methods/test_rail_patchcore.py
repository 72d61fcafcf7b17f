from __future__ import annotations

from flawmap.features.context import Gated
from flawmap.methods.rail_patchcore import rail_patchcore


def test_rows_and_columns_are_gated_unless_another_gate_is_given() -> None:
    assert rail_patchcore().context == Gated("dual_axis")
    method = rail_patchcore(context=Gated("channels"), coreset=0.5)
    assert method.context == Gated("channels")
    assert method.coreset == 0.5
