"""The method that flawmap fits unless told otherwise: PatchCore with what finds more defects.

What it is made of was chosen on held-out good images and painted defects, and checked on real ones;
docs/detection.md has every trial.
"""

from __future__ import annotations

from typing import Any

from flawmap.data.auto_size import AutoSize
from flawmap.features.reducers import NoReduction
from flawmap.memory.bank import TopShare
from flawmap.methods.patchcore import PatchCore
from flawmap.methods.preset import Preset

PRESETS = {
    "fast": Preset("the shortest time an image", size=AutoSize(224), options={"stride": None}),
    "balanced": Preset("more defects found, in twice that time", size=AutoSize(320)),
    "thorough": Preset("the most defects found, in four times that time", size=AutoSize(448)),
}
"""The presets of `flawmap`, by name."""


def flawmap(**options: Any) -> PatchCore:
    """PatchCore with finer features, the part's own shape, and the mean of the highest distances.

    The deeper layer is dilated to the stride of the finer one, so no detail is interpolated. The
    bank has at most 5,000 rows, whatever the number of images. Images off the aspect of most are
    letterboxed.

    Args:
        options: of `PatchCore`, in place of flawmap's.

    Example:
        >>> flawmap().image_score
        TopShare(fraction=0.01)
    """
    preset: dict[str, Any] = {
        "stride": 8,
        "reducer": NoReduction(),
        "coreset": 1.0,
        "max_rows": 5000,
        "vector_precision": "f16",
        "image_score": TopShare(0.01),
        "letterbox": True,
    }
    return PatchCore(**preset | options)
