"""What an inspection says, and what anything that inspects can be asked: all that a line, a page or a report needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float

from flawmap.prepare import Photo

Heatmap = Float[np.ndarray, "height width"]
"""How unlike the good parts each pixel is, on one scale for all pictures: 1 is the most that a good part shows
anywhere at the chosen budget of false rejects; 0 is exactly like a good part. Float32, the picture's own size."""


@dataclass(frozen=True, eq=False)
class Verdict:
    """What one inspection says.

    Args:
        score: how unlike the good parts the picture is: a distance, ≥ 0, without a unit.
        p_value: the share of good parts that would look at least as odd, 0…1; small means suspicious.
        reject: whether the score lies beyond the threshold of the chosen budget.
        heatmap: where the picture differs, in the picture's own size; 1 marks the limit of good parts.
    """

    score: float
    p_value: float
    reject: bool
    heatmap: Heatmap


class Inspects(Protocol):
    """Anything that judges pictures."""

    def inspect(self, photo: Photo) -> Verdict:
        """Judge one picture; raises PictureError where it cannot be used."""
        ...
