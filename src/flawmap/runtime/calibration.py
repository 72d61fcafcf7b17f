"""P-values and thresholds for scores, by ranks among scores of good images alone.

A good image that the model was not fitted on scores like a new good part. Among n such scores and
the new one, every rank is equally likely (conformal prediction; Vovk et al. 2005). So a new good
part scores above the k-th largest of them with probability k / (n + 1) at most, whatever the
distribution, averaged over sets of images like this one. The fraction of good parts above *this*
k-th largest is Beta(k, n + 1 − k) distributed at worst (Vovk 2012), which is where "95 % sure"
comes from. No density is fitted to anything.

There are two ways to get such scores. `split` keeps images out of the fit, and both statements hold
exactly. `leave-out` fits on all images and scores each by a model fitted without it. A model of all
images then scores the new part, so the statements hold nearly: docs/calibration.md has
measurements.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float

from flawmap.errors import OptionError
from flawmap.runtime.rank_bounds import (
    DEFAULT_CONFIDENCE,
    confidence_at_rank,
    false_reject_upper_bound,
)
from flawmap.support.options import check_types

_SCORE_FLOOR = 1e-5
"""Distances up to this count as 0.

A network's output for one image differs by about this much between two batches.
"""

_GROUP_P_VALUE = 0.01
"""Groups count as different where chance alone would make them so less often than this."""

SCORES = "calibration.scores"
"""Name of the scores in a saved file, (image,); with zones (image, zone)."""

MAP_PEAKS = "calibration.peaks"
"""Name of the map peaks in a saved file, likewise."""

_TINY = 1e-9
"""So that 0.29 × 100 counts as 29."""

_PerGoodImage = Float[np.ndarray, " image"]


@dataclass(frozen=True)
class Budget:
    """The fraction of good parts that may be rejected.

    Args:
        false_rejects: the fraction, 0…1 exclusive.
        confidence: None to keep to the fraction on average over sets of good images; 0.95 to be
            95 % sure of it for this very set, which takes a higher threshold and three times as
            many images.

    Raises:
        OptionError: a value is out of its range.

    Example:
        >>> Budget(0.01).images_needed, Budget(0.01, confidence=0.95).images_needed
        (99, 299)
    """

    false_rejects: float = 0.01
    confidence: float | None = None

    def __post_init__(self) -> None:
        check_types(self)
        if not 0 < self.false_rejects < 1:
            raise OptionError(
                f"a budget of {self.false_rejects} false rejects is not between 0 and 1; write "
                "0.01 for 1 %"
            )
        if self.confidence is not None and not 0 < self.confidence < 1:
            raise OptionError(
                f"a confidence of {self.confidence} is not between 0 and 1; write 0.95 for 95 % "
                "sure"
            )

    @property
    def images_needed(self) -> int:
        """Smallest number of held-out good images that a threshold for this budget takes."""
        if self.confidence is None:
            return math.ceil(1 / self.false_rejects - _TINY) - 1
        return math.ceil(math.log1p(-self.confidence) / math.log1p(-self.false_rejects) - _TINY)

    def images_text(self, count: int) -> str:
        """How many good images the budget takes, and how many there are, in words.

        Args:
            count: number of held-out good images.

        Example:
            >>> Budget(0.001).images_text(200)
            'a budget of 0.10% takes 999 good images, and there are 200'
        """
        budget = f"{self.false_rejects:.2%}"
        if self.confidence is not None:
            budget += f", {self.confidence:.0%} sure,"
        return f"a budget of {budget} takes {self.images_needed} good images, and there are {count}"

    def rank(self, count: int) -> int:
        """Rank of the score that is the threshold, counted from the largest.

        Args:
            count: number of scores, >= 1.

        Returns:
            1…`count`; 1, the largest score, where there are too few.

        Example:
            >>> Budget(0.02).rank(99)
            2
        """
        rank = min(count, math.floor(self.false_rejects * (count + 1) + _TINY))
        if self.confidence is None:
            return max(1, rank)
        # The fraction above the k-th largest grows with k, and so does its upper bound.
        while rank > 1 and confidence_at_rank(rank, count, self.false_rejects) < self.confidence:
            rank -= 1
        return max(1, rank)


@dataclass(frozen=True)
class ZoneBudget:
    """The budget of a zone.

    Args:
        name: of the zone.
        budget: of false rejects in it.
    """

    name: str
    budget: Budget


@dataclass(frozen=True)
class CalibrationSettings:
    """All of a calibration but the scores, as the manifest of a saved file holds it.

    Args:
        budget: of false rejects; with zones, of those that were given none.
        exact: whether the calibration's images never entered the model (`split`).
        groups: the lot, day or camera of each image; empty where none are known.
        zones: budgets of the zones, in the order of their scores; empty without zones.

    Example:
        >>> CalibrationSettings(Budget(0.01)).exact
        False
    """

    budget: Budget
    exact: bool = False
    groups: tuple[str, ...] = ()
    zones: tuple[ZoneBudget, ...] = ()


@dataclass(frozen=True, eq=False)
class Calibration:
    """Scores of good images that the model was not fitted on, and the threshold for a budget.

    Args:
        scores: image score of each good image, (image,), >= 0, in any order.
        map_peaks: largest value of each image's anomaly map, (image,), >= 0.
        budget: of false rejects.
        exact: whether these images never entered the model (`split`).
        groups: the lot, day or camera of each image; empty where none are known.

    Example:
        >>> calibration = Calibration(np.arange(99.0), np.arange(99.0), Budget(0.02))
        >>> calibration.threshold, calibration.p_value(97.5), calibration.rejects(97.5)
        (97.0, 0.02, True)
    """

    scores: _PerGoodImage
    map_peaks: _PerGoodImage
    budget: Budget = Budget()
    exact: bool = False
    groups: tuple[str, ...] = ()

    def p_value(self, score: float) -> float:
        """Fraction of good parts that would score at least as high.

        (1 + number of good images that do) / (1 + number of good images); Vovk et al. 2005.

        Args:
            score: an image score, >= 0.

        Returns:
            Above 0, at most 1.
        """
        at_least = np.maximum(self.scores, _SCORE_FLOOR) >= max(score, _SCORE_FLOOR)
        return float(1 + np.count_nonzero(at_least)) / (len(self.scores) + 1)

    def rejects(self, score: float) -> bool:
        """Whether a score is above the threshold.

        Args:
            score: an image score, >= 0.
        """
        return bool(score > self.threshold)

    # Computed once, since every image is compared with them.
    @cached_property
    def threshold(self) -> float:
        """Image score above which a part is rejected."""
        return self._at_rank(self.scores)

    @cached_property
    def map_limit(self) -> float:
        """Map value that good parts reach anywhere at the budget; the same rank among map peaks."""
        return self._at_rank(self.map_peaks)

    def at(self, budget: Budget) -> Calibration:
        """The same scores with another budget.

        Args:
            budget: of false rejects.
        """
        return replace(self, budget=budget)

    @property
    def certainty(self) -> float:
        """How sure the upper bound on the false reject rate is, 0…1."""
        return self.budget.confidence or DEFAULT_CONFIDENCE

    @property
    def expected_false_rejects(self) -> float:
        """Fraction of good parts rejected on average; at most the budget with enough images."""
        return self._rank / (len(self.scores) + 1)

    @property
    def false_reject_bound(self) -> float:
        """Upper bound on the false reject rate of this threshold, at the budget's confidence."""
        return false_reject_upper_bound(self._rank, len(self.scores), self.certainty)

    @property
    def images_missing(self) -> int:
        """How many more good images the budget takes."""
        return max(0, self.budget.images_needed - len(self.scores))

    def guarantees(self) -> list[str]:
        """What the threshold guarantees, in sentences."""
        return [
            f"{self.expected_false_rejects:.2%} of good parts will be rejected on average over "
            "sets of images like this one.",
            f"With this very threshold at most {self.false_reject_bound:.2%}, "
            f"{self.certainty:.0%} sure.",
            self._source(),
        ]

    def _source(self) -> str:
        if self.exact:
            source = "that the model was not fitted on: exact for parts like these"
        else:
            source = "each scored by a model fitted without it: nearly exact"
        return f"By rank among {len(self.scores)} good images, {source}."

    def warnings(self) -> list[str]:
        """What weakens the guarantee, in sentences: too few images, groups that differ."""
        return self._too_few_images() + self._differing_groups()

    @property
    def settings(self) -> CalibrationSettings:
        """All but the scores, for the manifest of a saved file."""
        return CalibrationSettings(self.budget, self.exact, self.groups)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The scores and map peaks by name, for a saved file."""
        return {SCORES: self.scores, MAP_PEAKS: self.map_peaks}

    @cached_property
    def _rank(self) -> int:
        return self.budget.rank(len(self.scores))

    def _at_rank(self, values: _PerGoodImage) -> float:
        return max(float(np.sort(values)[-self._rank]), _SCORE_FLOOR)

    def _too_few_images(self) -> list[str]:
        if not self.images_missing:
            return []
        return [
            f"A budget of {self.budget.false_rejects:.2%} takes {self.budget.images_needed} good "
            f"images, {self.images_missing} more than there are; until then the threshold is the "
            f"highest score among the {len(self.scores)}."
        ]

    def _differing_groups(self) -> list[str]:
        names = sorted(set(self.groups))
        if len(names) < 2:
            return []
        members = {name: self.scores[np.array(self.groups) == name] for name in names}
        sentences = [
            f"The good images come in {len(names)} groups, and a new part will come from a new "
            "one. Each group was scored by a model fitted without it; but images of one group are "
            f"alike, so expect up to {self._rejects_of_new_group(list(members.values())):.2%} "
            "false rejects on average over new groups. More groups bring that down to the budget; "
            "more images of the same ones do not."
        ]
        p_value = _kruskal_p_value(list(members.values()))
        if p_value < _GROUP_P_VALUE:
            highest = max(names, key=lambda name: float(np.median(members[name])))
            above = np.count_nonzero(members[highest] > self.threshold)
            sentences.append(
                f"The groups differ (Kruskal-Wallis p = {p_value:.1g}): {highest} scores highest, "
                f"{above} of its {len(members[highest])} good images are above the threshold."
            )
        return sentences

    def _rejects_of_new_group(self, members: list[_PerGoodImage]) -> float:
        """What part of a new group is above the threshold at most, on average over groups.

        The new group may be beyond all known ones, with the probability 1 / (groups + 1) that any
        of them is; else it is like their mean (Lee, Barber and Willett 2023).
        """
        above = [float(np.mean(scores > self.threshold)) for scores in members]
        return (sum(above) + 1) / (len(members) + 1)


def _kruskal_p_value(members: list[_PerGoodImage]) -> float:
    """How likely chance alone makes groups differ as much; by ranks, without a distribution."""
    from scipy.stats import kruskal

    if len(np.unique(np.concatenate(members))) == 1:
        return 1.0
    return float(kruskal(*members).pvalue)
