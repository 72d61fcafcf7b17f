"""The good images of a product: which of them a method is fitted to, and which calibrate."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from flawmap.data.layouts import good_training_samples
from flawmap.data.sample import GOOD, FoundSamples
from flawmap.data.splits import check_unchanged
from flawmap.errors import DatasetError
from flawmap.runtime.image_types import ImageInput

_MIN_GOOD_IMAGES = 2
"""Fewest good images to fit to: each is scored by a method that was fitted to the others."""


class GoodImages(NamedTuple):
    """Some good images of a training set.

    Args:
        images: paths, bytes of files, or arrays.
        groups: the group of each image, in the same order; empty where there are no two groups.
    """

    images: list[ImageInput]
    groups: list[str]


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Good images, some of which may be held out of fitting to set the threshold.

    Usually made by `TrainingSet.of` or `TrainingSet.of_images`, and followed by `hold_out`.

    Args:
        images: all good images: paths, bytes of files, or arrays.
        groups: the lot, day or camera of each image; empty where unknown. A single group of all
            images is as good as none, and `groups` is then empty too.
        held_out: indices in `images` of those that only calibrate. Empty where a method is fitted
            to all, and each is to be scored by what was fitted to the others.

    Raises:
        DatasetError: fewer than two images are not held out, or `groups` has another length than
            `images`.

    Example:
        >>> training_set = TrainingSet.of_images(["a.png", "b.png", "c.png", "d.png"])
        >>> training_set = training_set.hold_out(0.25, seed=0)
        >>> len(training_set.training.images), training_set.calibration.images
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
            noun = "image" if count == 1 else "images"
            raise DatasetError(
                f"{count} good {noun}; {_MIN_GOOD_IMAGES} are the fewest to fit to, 100 or more "
                "are better"
            )
        if count - held_out < _MIN_GOOD_IMAGES:
            raise DatasetError(
                f"{held_out} of {count} good images are held out for calibration; "
                f"{_MIN_GOOD_IMAGES} are the fewest to fit to, so hold out fewer or add images"
            )

    @classmethod
    def of(cls, source: Path | FoundSamples) -> TrainingSet:
        """The good images of a data set; those of its calibration split are held out.

        Args:
            source: a folder of good images, a data set with `train/good`, or a CSV manifest, which
                may name the split and the group of each image; or what `find_dataset` found there.

        Raises:
            DatasetError: too few good images, or one has changed since its manifest was written.
        """
        samples = good_training_samples(source)
        check_unchanged(samples)
        images = [sample.path for sample in samples]
        groups = [sample.group for sample in samples]
        is_calibration = [sample.split == "calibration" for sample in samples]
        return cls(images, groups, np.flatnonzero(is_calibration).tolist())

    @classmethod
    def of_images(cls, images: Sequence[ImageInput], groups: Sequence[str] = ()) -> TrainingSet:
        """Good images as they are given; none is held out.

        Args:
            images: paths, bytes of files, or arrays.
            groups: the lot, day or camera of each image; empty where unknown.

        Raises:
            DatasetError: fewer than two images, or another number of groups than of images.
        """
        return cls(images, groups)

    def hold_out(self, fraction: float, *, seed: int) -> TrainingSet:
        """The same images, some of them held out of fitting, whole groups where there are groups.

        Where the data set has a calibration split, that stays as it is.

        Args:
            fraction: fraction of the groups, or of the images where there are none, rounded up,
                0…1, 1 exclusive; 0 holds out nothing.
            seed: another seed chooses others.

        Raises:
            DatasetError: too few images are left to fit to.
        """
        if self.held_out:
            return self
        keys = self.groups or range(len(self.images))
        group_ids = np.unique(keys, return_inverse=True)[1]
        shuffled = np.random.default_rng(seed).permutation(group_ids.max() + 1)
        held_out_ids = shuffled[: math.ceil(fraction * len(shuffled))]
        return replace(self, held_out=np.flatnonzero(np.isin(group_ids, held_out_ids)).tolist())

    @property
    def training(self) -> GoodImages:
        """The images to fit to, in their order."""
        held_out = set(self.held_out)
        kept = [index for index in range(len(self.images)) if index not in held_out]
        return self._select(kept)

    @property
    def calibration(self) -> GoodImages:
        """The images that only set the threshold; none where a method is fitted to all."""
        return self._select(self.held_out)

    def images_by_class(
        self, classes: Mapping[str, Sequence[ImageInput]] | None = None
    ) -> dict[str, list[ImageInput]]:
        """The images that a backbone may be fine-tuned on: none that are held out.

        Args:
            classes: images by the name of their class; None for the good images as one class. An
                array is recognised by identity, a path by its name, bytes by their content.

        Example:
            >>> training_set = TrainingSet(["a.png", "b.png", "c.png"], held_out=[2])
            >>> training_set.images_by_class({"good": ["a.png", "c.png"], "scratch": ["d.png"]})
            {'good': ['a.png'], 'scratch': ['d.png']}
        """
        held_out = {_identity(self.images[index]) for index in self.held_out}
        usable = {}
        for name, images in (classes or {GOOD: self.images}).items():
            usable[name] = [image for image in images if _identity(image) not in held_out]
        return usable

    def check_readable(self, training: int, calibrating: int) -> None:
        """Make sure that enough of the images could be read.

        Args:
            training: number of readable images that a method was fitted to.
            calibrating: number of readable images that set the threshold.

        Raises:
            DatasetError: fewer than two to fit to, or none to calibrate with.
        """
        if training < _MIN_GOOD_IMAGES:
            raise DatasetError(
                f"{training} of {len(self.images)} images can be used to fit to; "
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
