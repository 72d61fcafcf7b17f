"""From distances to statements about good parts, by ranks alone.

P-values, thresholds, and what they promise.

A good image that the memory has not seen scores like a new good part. Among n such scores and the
new one, every rank is equally likely (conformal prediction; Vovk et al. 2005). So a new good part
scores beyond the k-th largest of them with probability k / (n + 1) at most, whatever the
distribution, averaged over sets of images like this one. The share of good parts beyond *this* k-th
largest is Beta(k, n + 1 − k) distributed at worst (Vovk 2012), which is where "95 % sure" comes
from. No density is fitted to anything.

There are two ways to get such scores. `split` keeps images out of the memory, and both statements
hold exactly. `leave-out` wastes none: each image is judged by a memory without what came from it. A
memory of all images then judges the new part, so the statements hold nearly: docs/calibration.md
has what came true.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Float

from flawmap.errors import OptionError

SCORE_FLOOR = 1e-5
"""Distances up to this are none.

A network rounds the same image that differently in two batches.
"""

DEFAULT_CONFIDENCE = 0.95
"""How sure a statement about this very threshold is, where nothing else is asked."""

GROUP_P_VALUE = 0.01
"""Groups count as different where chance alone would make them so less often than this."""

PerGoodImage = Float[np.ndarray, " image"]


@dataclass(frozen=True)
class Budget:
    """How many good parts may be rejected.

    Args:
        false_rejects: their share, between 0 and 1.
        confidence: None for the share on average over sets of good images; 0.95 to be 95 % sure of
            it for this very set, which takes a higher threshold and three times as many images.

    >>> Budget(0.01).images_needed, Budget(0.01, confidence=0.95).images_needed
    (99, 299)
    """

    false_rejects: float = 0.01
    confidence: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.false_rejects < 1:
            raise OptionError(
                f"a budget of {self.false_rejects} false rejects is not between 0 and 1; write "
                f"0.01 for 1 %"
            )
        if self.confidence is not None and not 0 < self.confidence < 1:
            raise OptionError(
                f"a confidence of {self.confidence} is not between 0 and 1; write 0.95 for 95 % "
                f"sure"
            )

    @property
    def images_needed(self) -> int:
        """How many held-out good images it takes at least."""
        if self.confidence is None:
            return math.ceil(1 / self.false_rejects - _TINY) - 1
        return math.ceil(math.log1p(-self.confidence) / math.log1p(-self.false_rejects) - _TINY)

    def rank(self, count: int) -> int:
        """Say which of `count` scores, from the largest down, is the threshold.

        The first where they are too few.
        """
        rank = math.floor(self.false_rejects * (count + 1) + _TINY)
        if self.confidence is not None:
            # The share beyond the k-th largest grows with k, and so does its upper bound.
            while (
                rank > 1 and confidence_at_rank(rank, count, self.false_rejects) < self.confidence
            ):
                rank -= 1
        return max(1, rank)


def confidence_at_rank(rank: int, count: int, fraction: float) -> float:
    """Confidence that at most this fraction of good parts score above a rank.

    The rank counts from the largest of `count` scores.

    P(Beta(k, n + 1 − k) ≤ α) = P(Binomial(n, α) ≥ k): that at least k of the n score among the α
    oddest.
    """
    if fraction >= 1:
        return 1.0
    hits = np.arange(rank)
    log_choose = np.cumsum(np.log(np.where(hits, (count + 1 - hits) / np.maximum(hits, 1), 1)))
    fewer = np.exp(
        log_choose + hits * math.log(fraction) + (count - hits) * math.log1p(-fraction)
    ).sum()
    return max(0.0, 1.0 - float(fewer))


def false_reject_upper_bound(
    rank: int, count: int, confidence: float = DEFAULT_CONFIDENCE
) -> float:
    """Upper bound on the fraction of good parts above the `rank`-th largest score."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (
            (low, middle)
            if confidence_at_rank(rank, count, middle) >= confidence
            else (middle, high)
        )
    return high


@dataclass(frozen=True)
class CalibrationSettings:
    """All of a calibration but the scores, as the manifest of a saved file holds it.

    Args:
        budget: of false rejects.
        exact: whether the calibration's images never entered the model (`split`).
        groups: the lot, day or camera of each image; empty where none are known.
    """

    budget: Budget
    exact: bool = False
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Calibration:
    """Scores of good parts that the model has not seen, and the threshold for a budget.

    Args:
        scores: of good images, in any order.
        peaks: the largest value of each one's map.
        budget: of false rejects.
        exact: whether these images never entered the memory (`split`).
        groups: the lot, day or camera of each image; empty where none are known.

    >>> calibration = Calibration(np.arange(99.0), np.arange(99.0), Budget(0.02))
    >>> calibration.threshold, calibration.p_value(97.5), calibration.rejects(97.5)
    (97.0, 0.02, True)
    """

    scores: PerGoodImage
    map_peaks: PerGoodImage
    budget: Budget = Budget()
    exact: bool = False
    groups: tuple[str, ...] = field(default=())

    def p_value(self, score: float) -> float:
        """Give the share of good parts that would score at least as high.

        (1 + their number) / (n + 1).
        """
        at_least = np.maximum(self.scores, SCORE_FLOOR) >= max(score, SCORE_FLOOR)
        return float(1 + np.count_nonzero(at_least)) / (len(self.scores) + 1)

    def rejects(self, score: float) -> bool:
        """Tell whether a score lies beyond the threshold."""
        return bool(score > self.threshold)

    # Worked out once: every image is held against them.
    @cached_property
    def threshold(self) -> float:
        """The score beyond which a part is rejected."""
        return self._beyond(self.scores)

    @cached_property
    def map_limit(self) -> float:
        """The value beyond which a pixel is odder than good parts are anywhere.

        The same rank, on the maps' peaks.
        """
        return self._beyond(self.map_peaks)

    @property
    def expected_false_rejects(self) -> float:
        """The share of good parts to be rejected, on average.

        At most the budget where the images suffice.
        """
        return self._rank / (len(self.scores) + 1)

    @property
    def false_reject_bound(self) -> float:
        """Upper bound on the false reject rate of this threshold, at the budget's confidence."""
        return false_reject_upper_bound(
            self._rank, len(self.scores), self.budget.confidence or DEFAULT_CONFIDENCE
        )

    @property
    def images_missing(self) -> int:
        """How many more good images the budget takes."""
        return max(0, self.budget.images_needed - len(self.scores))

    def guarantees(self) -> list[str]:
        """Say in words what the threshold stands for."""
        count, sure = len(self.scores), self.budget.confidence or DEFAULT_CONFIDENCE
        how = (
            f"{count} good images that never entered the memory: exact for parts like these"
            if self.exact
            else f"{count} good images, each judged by a memory without it: nearly exact"
        )
        return [
            f"{self.expected_false_rejects:.2%} of good parts will be rejected on average over "
            f"sets of images like this one.",
            f"With this very threshold at most {self.false_reject_bound:.2%}, {sure:.0%} sure.",
            f"By rank among {how}.",
        ]

    def warnings(self) -> list[str]:
        """Say what stands against the promises: too few images, groups that differ."""
        found = []
        if self.images_missing:
            found.append(
                f"A budget of {self.budget.false_rejects:.2%} takes {self.budget.images_needed} "
                f"good images, "
                f"{self.images_missing} more than there are; until then the threshold is the "
                f"highest score among the "
                f"{len(self.scores)}."
            )
        return found + self._differing_groups()

    @property
    def settings(self) -> CalibrationSettings:
        """All but the scores, for the manifest of a saved file."""
        return CalibrationSettings(self.budget, self.exact, self.groups)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The scores and map peaks by name, for a saved file; `from_arrays` takes them."""
        return {_SCORES: self.scores, _PEAKS: self.map_peaks}

    @classmethod
    def from_arrays(
        cls, settings: CalibrationSettings, arrays: Mapping[str, np.ndarray]
    ) -> Calibration:
        """The calibration in a saved file.

        Args:
            settings: those in the manifest.
            arrays: those of the file, by name; others than `to_arrays` returned are ignored.

        Raises:
            KeyError: scores or map peaks are missing.
        """
        return cls(
            arrays[_SCORES], arrays[_PEAKS], settings.budget, settings.exact, settings.groups
        )

    @cached_property
    def _rank(self) -> int:
        return self.budget.rank(len(self.scores))

    def _beyond(self, values: PerGoodImage) -> float:
        return max(float(np.sort(values)[-self._rank]), SCORE_FLOOR)

    def _differing_groups(self) -> list[str]:
        names = sorted(set(self.groups))
        if len(names) < 2:
            return []
        members = {name: self.scores[np.array(self.groups) == name] for name in names}
        found = [
            f"The good images come in {len(names)} groups, and a new part will come from a new "
            f"one. Each group was "
            "judged by a memory without it; the promises hold as far as these groups stand for "
            "those to come."
        ]
        if (chance := _chance_of_differing(list(members.values()))) < GROUP_P_VALUE:
            highest = max(names, key=lambda name: float(np.median(members[name])))
            beyond = np.count_nonzero(members[highest] > self.threshold)
            found.append(
                f"The groups differ (Kruskal-Wallis p = {chance:.1g}): {highest} scores highest, "
                f"{beyond} of its "
                f"{len(members[highest])} good images lie beyond the threshold."
            )
        return found


def _chance_of_differing(members: list[PerGoodImage]) -> float:
    # By ranks, as all here is; a test of means would need a distribution.
    from scipy.stats import kruskal

    if len(np.unique(np.concatenate(members))) == 1:
        return 1.0
    return float(kruskal(*members).pvalue)


_SCORES, _PEAKS = "calibration.scores", "calibration.peaks"

_TINY = 1e-9
"""So that 0.29 × 100 counts as 29."""
