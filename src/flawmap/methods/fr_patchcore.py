"""FR-PatchCore (Jiang et al. 2024), reconstructed: images are first brought into one pose.

What the article leaves open is taken from RegAD (Huang et al. 2022), on which it builds; see
`SpatialTransformerRegistration`.
"""

from __future__ import annotations

from typing import Any

from flawmap.features.registration import SpatialTransformerRegistration
from flawmap.methods.patchcore import PatchCore


def fr_patchcore(**options: Any) -> PatchCore:
    """PatchCore with a registration that is trained on pairs of good images.

    Args:
        options: of `PatchCore`, in place of that registration.

    Example:
        >>> fr_patchcore().registration.epochs
        50
    """
    return PatchCore(**{"registration": SpatialTransformerRegistration()} | options)
