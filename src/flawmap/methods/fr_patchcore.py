"""FR-PatchCore (Jiang et al.

2024), reconstructed: images are brought into one pose inside the backbone first.

What the article leaves open is taken from RegAD (Huang et al. 2022), on which it builds; see
`SpatialTransformers`.
"""

from __future__ import annotations

from typing import Any

from flawmap.features.registration import SpatialTransformerRegistration
from flawmap.methods.patchcore import PatchCore


def fr_patchcore(**options: Any) -> PatchCore:
    """Make PatchCore with a registration learned from pairs of good images.

    Any option may be given otherwise.
    """
    return PatchCore(**{"registration": SpatialTransformerRegistration()} | options)
