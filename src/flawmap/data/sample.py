"""One image of a data set, what it is for, and what else was found there."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Split = Literal["train", "calibration", "test"]

GOOD = "good"
"""Defect type of an image without defects, and name of its folder."""


@dataclass(frozen=True)
class Sample:
    """One image of a data set.

    Args:
        path: path of the image.
        split: `train` to fit, `calibration` to set the threshold, `test` to evaluate.
        defect_type: `good`, or the type of the defect.
        mask: path of an image that is bright where the defect is, or of a folder of such images,
            which together are the mask; None where there is none.
        group: the lot, day or camera; empty where unknown. Images of one group are alike in ways
            that others are not.
        sha256: hash of the file when its manifest was written, in hex; empty where unknown.
        mask_problem: why it has no mask although there are files that could be; empty otherwise.

    Example:
        >>> Sample(Path("test/scratch/01.png"), "test", "scratch").label
        1
    """

    path: Path
    split: Split
    defect_type: str = GOOD
    mask: Path | None = None
    group: str = ""
    sha256: str = ""
    mask_problem: str = ""

    @property
    def label(self) -> int:
        """1 for a defective part, 0 for a good one."""
        return int(self.defect_type != GOOD)


@dataclass(frozen=True)
class FoundSamples:
    """The images of a data set, and what is to be said of the rest.

    Args:
        samples: the images.
        notes: what was left out or is doubtful, a sentence each.
        unusable: what cannot be used and was not opened, a sentence each.
    """

    samples: list[Sample]
    notes: list[str] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)
