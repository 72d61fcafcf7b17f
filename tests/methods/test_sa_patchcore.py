from __future__ import annotations

from flawmap.features.partial_attention import PartialSelfAttention
from flawmap.methods.sa_patchcore import sa_patchcore


def test_all_channels_attend_each_by_itself() -> None:
    method = sa_patchcore()
    assert method.context == PartialSelfAttention(1.0, attend="per_channel")
    assert method.alignment == "nearest"
    assert sa_patchcore(alignment="bilinear").alignment == "bilinear"
