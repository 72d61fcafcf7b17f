"""What a tuning tried and chose, as it stands in the saved file; no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flawmap.support.options import from_dict, to_dict


@dataclass(frozen=True)
class Trial:
    """Settings that were tried, and what came of them.

    Args:
        label: what is different about the settings, in a few words.
        height: of the network's input, in pixels.
        width: of the network's input, in pixels.
        options: changes of the method's options, as `--set` takes them.
        auroc: image AUROC of painted defects against the good images that they were painted on.
        shortfall: by how much that is less than the highest, >= 0.
        shortfall_error: standard error of that difference; 0 for the highest itself.
        found: fraction of the painted defects found at 5 % false rejects.
        smallest: smallest size that is found by kind, in pixels of the image; None for none.
        image_ms: time from an image to its verdict, in milliseconds.

    Example:
        >>> trial = Trial("as set", 224, 224, [], 0.9, 0.01, 0.02, 0.5, {"dot": 8.0}, 12.0)
        >>> trial.ties
        True
    """

    label: str
    height: int
    width: int
    options: list[str]
    auroc: float
    shortfall: float
    shortfall_error: float
    found: float
    smallest: dict[str, float | None]
    image_ms: float

    @property
    def ties(self) -> bool:
        """Whether it is as good as the best: not worse by more than the standard error."""
        return self.shortfall <= self.shortfall_error


@dataclass(frozen=True)
class TuningRecord:
    """The record of a tuning, as the saved inspector keeps it.

    Args:
        minutes: that it was given.
        seconds: that it took.
        fitted_images: good images that the settings were fitted to.
        held_out_images: other good images, which defects were painted on.
        painted_defects: number of defects.
        contrast: of the defects, in multiples of the noise around them.
        trials: settings that were tried, those that the method had already first.
        chosen: index of the trial that was chosen.
        reason: why, in a sentence.
        untried: what there was no time for, each with all image scores.
    """

    minutes: float
    seconds: float
    fitted_images: int
    held_out_images: int
    painted_defects: int
    contrast: float
    trials: list[Trial]
    chosen: int
    reason: str
    untried: list[str]

    @property
    def choice(self) -> Trial:
        """The trial that was chosen."""
        return self.trials[self.chosen]

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON can hold it; `from_dict` reads it."""
        return to_dict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TuningRecord:
        """The record of `to_dict`.

        Args:
            values: what `to_dict` gave.

        Raises:
            OptionError: values that this version does not know.
        """
        return from_dict(dict(values), cls)
