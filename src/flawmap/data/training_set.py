"""The good images that an inspector is fitted to: which of them teach, and which calibrate."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from flawmap.data.layouts import GOOD, good_training_samples
from flawmap.data.splits import check_unchanged
from flawmap.errors import DatasetError
from flawmap.runtime.preprocess import ImageInput

_MIN_GOOD_IMAGES = 2
"""Fewest good images to learn from: each is scored by what the others taught."""


class GoodImages(NamedTuple):
    """Some good images of a training set.

    Args:
        images: paths, bytes of files, or arrays.
        groups: the group of each image; empty where there are no two groups.
    """

    images: list[ImageInput]
    groups: list[str]


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Good images, some of which may be held out of learning to set the threshold.

    Usually made by `TrainingSet.of` or `TrainingSet.of_images`, and followed by `hold_out`.

    Args:
        images: all good images: paths, bytes of files, or arrays.
        groups: the lot, day or camera of each image; empty where unknown. A single group of all
            images is as good as none, and `groups` is then empty too.
        held_out: positions in `images` of those that calibrate; the others teach. Empty where all
            teach, and each is to be scored by what the others taught.

    Raises:
        DatasetError: fewer than two images teach, or `groups` has another length than `images`.

    Example:
        >>> training_set = TrainingSet.of_images(["a.png", "b.png", "c.png", "d.png"])
        >>> training_set = training_set.hold_out(0.25, seed=0)
        >>> len(training_set.teach.images), training_set.calibrate.images
        (3, ['c.png'])
    """

    images: Sequence[ImageInput]
    groups: Sequence[str] = ()
    held_out: Sequence[int] = ()

    def __post_init__(self) -> None:
        count, held_out = len(self.images), len(self.held_out)
        if self.groups and len(self.groups) != count:
            raise DatasetError(f"{len(self.groups)} groups for {count} images; name one for each")
        if len(set(self.groups)) == 1:
            object.__setattr__(self, "groups", ())
        if count < _MIN_GOOD_IMAGES:
            raise DatasetError(
                f"{count} good image{'s' * (count != 1)}; {_MIN_GOOD_IMAGES} are the fewest to "
                "learn from, 100 or more are better"
            )
        if count - held_out < _MIN_GOOD_IMAGES:
            raise DatasetError(
                f"{held_out} of {count} good images are held out for calibration; "
                f"{_MIN_GOOD_IMAGES} are the fewest to learn from, so hold out fewer or add images"
            )

    @classmethod
    def of(cls, source: Path) -> TrainingSet:
        """List the good images of a data set; those of its calibration split are held out.

        Args:
            source: a folder of good images, a data set with `train/good`, or a CSV manifest, which
                may name the split and the group of each image.

        Raises:
            DatasetError: too few good images, or one has changed since its manifest was written.
        """
        samples = good_training_samples(source)
        check_unchanged(samples)
        return cls(
            images=[sample.path for sample in samples],
            groups=[sample.group for sample in samples],
            held_out=[
                index for index, sample in enumerate(samples) if sample.split == "calibration"
            ],
        )

    @classmethod
    def of_images(cls, images: Sequence[ImageInput], groups: Sequence[str] = ()) -> TrainingSet:
        """Take good images as they are given; none is held out.

        Args:
            images: paths, bytes of files, or arrays.
            groups: the lot, day or camera of each image; empty where unknown.

        Raises:
            DatasetError: fewer than two images, or another number of groups than of images.
        """
        return cls(images, groups)

    def hold_out(self, fraction: float, *, seed: int) -> TrainingSet:
        """Hold some images out of learning, whole groups where there are groups.

        Where the data set has a calibration split, that stays as it is.

        Args:
            fraction: of the groups, or of the images where there are none, rounded up; 0 holds out
                nothing, and it must be less than 1.
            seed: another one chooses others.

        Raises:
            DatasetError: too few images are left to learn from.
        """
        if self.held_out:
            return self
        keys = self.groups or range(len(self.images))
        group_ids = np.unique(keys, return_inverse=True)[1]
        shuffled = np.random.default_rng(seed).permutation(group_ids.max() + 1)
        chosen = shuffled[: math.ceil(fraction * len(shuffled))]
        return replace(self, held_out=np.flatnonzero(np.isin(group_ids, chosen)).tolist())

    @property
    def teach(self) -> GoodImages:
        """The images to learn from, in their order."""
        held_out = set(self.held_out)
        return self._select([i for i in range(len(self.images)) if i not in held_out])

    @property
    def calibrate(self) -> GoodImages:
        """The images that set the threshold alone; none where all teach."""
        return self._select(self.held_out)

    def images_by_class(
        self, classes: Mapping[str, Sequence[ImageInput]] | None = None
    ) -> dict[str, list[ImageInput]]:
        """Select what the backbone may be fine-tuned on: nothing that calibrates.

        Args:
            classes: images by the name of their class; None for the good images as one class. An
                array is recognised by identity, a path by its name, bytes by their content.

        Returns:
            The images of each class, without those that are held out.
        """
        unseen = {_identity(self.images[index]) for index in self.held_out}
        return {
            name: [image for image in images if _identity(image) not in unseen]
            for name, images in (classes or {GOOD: self.images}).items()
        }

    def check_usable(self, teaching: int, calibrating: int) -> None:
        """Make sure that enough of the images could be read.

        Args:
            teaching: how many that could be read teach.
            calibrating: how many that could be read set the threshold.

        Raises:
            DatasetError: fewer than two teach, or none calibrates.
        """
        if teaching < _MIN_GOOD_IMAGES:
            raise DatasetError(
                f"{teaching} of {len(self.images)} images can be used to learn from; "
                f"{_MIN_GOOD_IMAGES} are the fewest"
            )
        if not calibrating:
            raise DatasetError(
                f"none of the {len(self.held_out)} images held out for calibration can be used"
            )

    def _select(self, indices: Sequence[int]) -> GoodImages:
        groups = [self.groups[index] for index in indices] if self.groups else []
        return GoodImages([self.images[index] for index in indices], groups)


def _identity(image: ImageInput) -> object:
    if isinstance(image, np.ndarray):
        return id(image)
    return Path(image) if isinstance(image, str | os.PathLike) else image
