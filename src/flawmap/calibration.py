"""From distances to statements about good parts, by ranks alone: p-values, a threshold, what it costs in pictures.

Each good picture is scored against a memory without its own vectors. A new good part's score is then one more draw
from (nearly) the same distribution, so its rank among them is uniform (conformal prediction; Vovk et al. 2005).
"Nearly", since each held-out memory lacks one picture that the final one has; the scores err on the high side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from flawmap.errors import OptionError

ROUNDING = 1e-5
"""Distances up to this are none: a network rounds the same picture that differently in two batches."""

PerPicture = Float[np.ndarray, " picture"]


@dataclass(frozen=True, eq=False)
class Calibration:
    """What good parts score, and the budget of false rejects.

    Args:
        scores: of good pictures, none of which the memory had seen, in any order.
        peaks: the largest value of each one's map.
        false_rejects: the share of good parts that may be rejected, between 0 and 1.

    >>> calibration = Calibration(np.arange(99.0), np.arange(99.0), false_rejects=0.02)
    >>> calibration.threshold, calibration.p_value(97.5), calibration.rejects(97.5)
    (97.0, 0.02, True)
    """

    scores: PerPicture
    peaks: PerPicture
    false_rejects: float = 0.01

    def __post_init__(self) -> None:
        if not 0 < self.false_rejects < 1:
            raise OptionError(f"a budget of {self.false_rejects} false rejects is not between 0 and 1")

    def p_value(self, score: float) -> float:
        """Give the share of good parts that would score at least as high: (1 + their number) / (n + 1)."""
        at_least = np.maximum(self.scores, ROUNDING) >= max(score, ROUNDING)
        return float(1 + np.count_nonzero(at_least)) / (len(self.scores) + 1)

    def rejects(self, score: float) -> bool:
        """Tell whether a score lies beyond the threshold."""
        return bool(score > self.threshold)

    @property
    def threshold(self) -> float:
        """The score beyond which a part is rejected."""
        return max(_largest(self.scores, self._rank), ROUNDING)

    @property
    def limit(self) -> float:
        """The value beyond which a pixel is odder than good parts are anywhere: the same budget, on the maps' peaks."""
        return max(_largest(self.peaks, self._rank), ROUNDING)

    @property
    def budget(self) -> float:
        """The share of false rejects that the threshold stands for: at most what was asked, if the pictures suffice."""
        return self._rank / (len(self.scores) + 1)

    @property
    def pictures_needed(self) -> int:
        """How many good pictures the budget that was asked for takes at least."""
        return math.ceil(1 / self.false_rejects - _TINY) - 1

    @property
    def _rank(self) -> int:
        # Rejecting beyond the k-th largest of n rejects a new good part with probability k/(n+1). Too few pictures for
        # the budget leave the largest, k = 1, as the most cautious threshold there is.
        return max(1, math.floor(self.false_rejects * (len(self.scores) + 1) + _TINY))


def _largest(values: PerPicture, rank: int) -> float:
    return float(np.sort(values)[-rank])


_TINY = 1e-9
"""So that 0.29 × 100 counts as 29."""
