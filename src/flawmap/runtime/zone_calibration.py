"""Thresholds of zones: each by the scores of the same good images in it, at a budget of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from flawmap.errors import OptionError
from flawmap.runtime.calibration import (
    MAP_PEAKS,
    SCORES,
    Budget,
    Calibration,
    CalibrationSettings,
    ZoneBudget,
)
from flawmap.runtime.verdict import ZoneVerdict


@dataclass(frozen=True, eq=False)
class ZoneCalibration(Calibration):
    """The calibrations of all zones, and of an image by the zone that decides.

    That is the zone whose score is the largest multiple of its threshold. So as one calibration
    this has these multiples for scores, and the threshold and the map limit are 1.

    Args:
        by_zone: the calibration of each zone, by the same images, by name.

    Example:
        >>> scores = np.arange(99.0)
        >>> loose, strict = (Calibration(scores, scores, Budget(part)) for part in (0.05, 0.01))
        >>> zones = ZoneCalibration.of({"face": loose, "bore": strict}, Budget(0.01))
        >>> [zone.reject for zone in zones.verdicts([94.5, 97.0])], zones.threshold
        ([True, False], 1.0)
    """

    by_zone: Mapping[str, Calibration] = field(default_factory=dict)

    @classmethod
    def of(cls, by_zone: Mapping[str, Calibration], budget: Budget) -> ZoneCalibration:
        """The calibration of these zones.

        Args:
            by_zone: of the same images, by name, one or more.
            budget: of zones that have none of their own.
        """
        parts = list(by_zone.values())
        scores = np.max([part.scores / part.threshold for part in parts], axis=0)
        peaks = np.max([part.map_peaks / part.map_limit for part in parts], axis=0)
        first = parts[0]
        return cls(scores, peaks, budget, first.exact, first.groups, by_zone)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the zones, in order."""
        return tuple(self.by_zone)

    @property
    def map_limits(self) -> np.ndarray:
        """The map limit of each zone, in order."""
        return np.array([part.map_limit for part in self.by_zone.values()])

    @property
    def total_budget(self) -> float:
        """The sum of the budgets: at most so many good parts are rejected in all, at most 1."""
        return min(1.0, sum(part.budget.false_rejects for part in self.by_zone.values()))

    def total_text(self) -> str:
        """How many good parts all zones reject together at most, in words."""
        text = f"In all at most {self.expected_false_rejects:.2%} of good parts on average"
        budgets = f"{self.total_budget:.2%}, the sum of the budgets"
        return f"{text}, {'beyond' if self.images_missing else 'within'} {budgets}"

    def verdicts(self, scores: Sequence[float]) -> tuple[ZoneVerdict, ...]:
        """What each zone says of an image.

        Args:
            scores: of the zones, in order.
        """
        pairs = zip(self.by_zone.items(), scores, strict=True)
        return tuple(
            ZoneVerdict(name, score, part.threshold, part.p_value(score), part.rejects(score))
            for (name, part), score in pairs
        )

    def with_budget(self, name: str, budget: Budget) -> ZoneCalibration:
        """The same scores, with another budget for a zone.

        Args:
            name: of the zone.
            budget: of false rejects in it.

        Raises:
            OptionError: there is no such zone.
        """
        if name not in self.by_zone:
            raise OptionError(f"no region {name!r} here; there are {', '.join(self.names)}")
        changed = {name: replace(self.by_zone[name], budget=budget)}
        return ZoneCalibration.of({**self.by_zone, **changed}, self.budget)

    def at(self, budget: Budget) -> Calibration:
        """The multiples of thresholds calibrated as one score, for a budget of the image.

        Args:
            budget: of false rejects in all zones together.
        """
        return Calibration(self.scores, self.map_peaks, budget, self.exact, self.groups)

    @property
    def threshold(self) -> float:
        """1, the multiple of a zone's threshold above which a part is rejected."""
        return 1.0

    @property
    def map_limit(self) -> float:
        """1, since each zone's map is divided by its own limit."""
        return 1.0

    @property
    def expected_false_rejects(self) -> float:
        """Fraction of good parts rejected on average, at most: the sum of those of all zones."""
        return min(1.0, sum(part.expected_false_rejects for part in self.by_zone.values()))

    @property
    def false_reject_bound(self) -> float:
        """Upper bound on the false reject rate of all zones together, each at its confidence."""
        return min(1.0, sum(part.false_reject_bound for part in self.by_zone.values()))

    @property
    def images_missing(self) -> int:
        """How many more good images the strictest budget takes."""
        return max(part.images_missing for part in self.by_zone.values())

    def guarantees(self) -> list[str]:
        """What the thresholds guarantee, in sentences: of each zone, and of all together."""
        sentences = [
            f"{name}: {part.expected_false_rejects:.2%} of good parts will be rejected on average, "
            f"with this very threshold at most {part.false_reject_bound:.2%}, "
            f"{part.certainty:.0%} sure; {part.budget.images_text(len(part.scores))}."
            for name, part in self.by_zone.items()
        ]
        return [
            *sentences,
            self.total_text() + ".",
            self._source(),
        ]

    @property
    def settings(self) -> CalibrationSettings:
        """All but the scores, for the manifest of a saved file."""
        budgets = tuple(ZoneBudget(name, part.budget) for name, part in self.by_zone.items())
        return replace(super().settings, zones=budgets)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The scores and map peaks by name, (image, zone), for a saved file."""
        each = [part.to_arrays() for part in self.by_zone.values()]
        return {name: np.stack([arrays[name] for arrays in each], axis=1) for name in each[0]}

    def _too_few_images(self) -> list[str]:
        warnings = []
        for name, part in self.by_zone.items():
            warnings += [f"Region {name}: {text}" for text in part._too_few_images()]
        return warnings


def calibrate(
    settings: CalibrationSettings, scores: np.ndarray, map_peaks: np.ndarray
) -> Calibration:
    """The calibration of good images by their scores.

    Args:
        settings: budgets, groups and kind.
        scores: of the images, (image,); where there are zones, (image, zone).
        map_peaks: likewise.

    Example:
        >>> calibrate(CalibrationSettings(Budget(0.1)), np.arange(9.0), np.arange(9.0)).threshold
        8.0
    """
    common = settings.exact, settings.groups
    if not settings.zones:
        return Calibration(scores, map_peaks, settings.budget, *common)
    # One zone is one column, which may have come without its axis.
    scores, map_peaks = (values.reshape(len(values), -1) for values in (scores, map_peaks))
    by_zone = {
        zone.name: Calibration(scores[:, index], map_peaks[:, index], zone.budget, *common)
        for index, zone in enumerate(settings.zones)
    }
    return ZoneCalibration.of(by_zone, settings.budget)


def calibration_from_arrays(
    settings: CalibrationSettings, arrays: Mapping[str, np.ndarray]
) -> Calibration:
    """The calibration in a saved file.

    Args:
        settings: those in the manifest.
        arrays: those of the file, by name; others than `to_arrays` returned are ignored.

    Raises:
        KeyError: scores or map peaks are missing.
    """
    return calibrate(settings, arrays[SCORES], arrays[MAP_PEAKS])
