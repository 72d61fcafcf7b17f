"""What a backbone is fine-tuned with: images by class, turned and mirrored.

Li et al. (2025), section 2.4: 256×256, a random turn, a random mirroring. Where there is one class,
the second are its own images with defects painted by `synthetic.defects`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.random import Generator, default_rng

from flawmap.errors import DatasetError, ImageError
from flawmap.runtime.image_types import ImageArray, ImageInput, Preprocessed
from flawmap.runtime.images.decode import decode, map_ahead
from flawmap.runtime.preprocess import Preprocessing, resize, to_uint8
from flawmap.support.progress import track
from flawmap.support.tensors import Images, Indices
from flawmap.synthetic.defects import PAINTED_TYPES, paint_defect

_PAINTED_CLASS = "painted defect"
"""The second class where only one was given."""

_VALIDATION_FRACTION = 0.2
"""Fraction of each class's images that are never trained on."""

_MIN_IMAGES_PER_CLASS = 2
"""Images of a class: one to train on and one to validate with."""


class LabelledBatch(NamedTuple):
    """A batch of images with the numbers of their classes.

    Args:
        images: (batch, 3, height, width), preprocessed.
        labels: (batch,), counted from 0.
    """

    images: Images
    labels: Indices


class _Example(NamedTuple):
    image: ImageArray
    label: int


class FineTuneDataset:
    """Images by class, in batches, for training and for validation.

    All are read at once and held small, 0.2 MB each at 256×256. A fifth of each class is never
    trained on. Every image comes once an epoch, turned and mirrored at random. Where there is one
    class, the second are its own images with a defect painted on: every other one in training, each
    of them beside the good one in validation.

    Args:
        classes: images by the name of their class; those that cannot be read are skipped.
        preprocessing: makes images ready for the network; its size is theirs.
        batch_size: images at a time.
        max_rotation: images are turned by up to so many degrees either way, >= 0.
        defect_types: of painted defects; none named means all.
        seed: of everything random.

    Raises:
        DatasetError: a class has fewer than two images that can be read.

    Example:
        >>> grey = [np.full((64, 64, 3), level, np.uint8) for level in range(100, 110)]
        >>> dataset = FineTuneDataset({"good": grey}, Preprocessing(64, 64), batch_size=4)
        >>> dataset.names, len(dataset), dataset.num_batches()
        (['good', 'painted defect'], 8, 2)
    """

    def __init__(
        self,
        classes: Mapping[str, Sequence[ImageInput]],
        preprocessing: Preprocessing,
        *,
        batch_size: int = 32,
        max_rotation: float = 10.0,
        defect_types: Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        self.preprocessing = preprocessing
        self.batch_size = batch_size
        self.max_rotation = max_rotation
        self.defect_types = tuple(defect_types) or PAINTED_TYPES
        self.seed = seed
        self.painted = len(classes) == 1
        self.names = [*classes, _PAINTED_CLASS] if self.painted else list(classes)
        self._training: list[_Example] = []
        self._validation: list[_Example] = []
        for label, (name, images) in enumerate(classes.items()):
            self._split([_Example(image, label) for image in self._read(images)], name)

    def __len__(self) -> int:
        """Number of images of an epoch."""
        return len(self._training)

    def num_batches(self) -> int:
        """Number of batches of an epoch."""
        return math.ceil(len(self) / self.batch_size)

    def training_batches(self, epoch: int) -> Iterator[LabelledBatch]:
        """The images of an epoch in batches, in an order of its own.

        Args:
            epoch: its number, counted from 1; the same one always gives the same batches.
        """
        order = default_rng([self.seed, epoch]).permutation(len(self._training)).tolist()
        yield from self._batched(map_ahead(lambda index: self._augment(index, epoch), order))

    def validation_batches(self) -> Iterator[LabelledBatch]:
        """The images that are never trained on, as they are."""
        versions = map_ahead(self._validation_versions, range(len(self._validation)))
        yield from self._batched(chain.from_iterable(versions))

    def fingerprint(self) -> str:
        """SHA-256 in hex of all that is trained on: classes, images, and how they are varied."""
        settings = (
            self.names,
            self.preprocessing,
            self.batch_size,
            self.max_rotation,
            self.defect_types,
            self.seed,
        )
        digest = hashlib.sha256(repr(settings).encode())
        for image, label in self._training + self._validation:
            digest.update(f"{label} {image.shape}\n".encode())
            digest.update(image.tobytes())
        return digest.hexdigest()

    def _read(self, images: Sequence[ImageInput]) -> Iterator[ImageArray]:
        small_images = map_ahead(self._decode_small, images)
        for image in track(small_images, "reading images to fine-tune with", len(images)):
            if image is not None:
                yield image

    def _decode_small(self, image: ImageInput) -> ImageArray | None:
        # What cannot be read is named by the fit that follows.
        try:
            decoded = to_uint8(decode(image, self.preprocessing.white))
        except ImageError:
            return None
        return resize(decoded, self.preprocessing.height, self.preprocessing.width)

    def _split(self, examples: list[_Example], name: str) -> None:
        if len(examples) < _MIN_IMAGES_PER_CLASS:
            raise DatasetError(
                f"fine-tuning needs {_MIN_IMAGES_PER_CLASS} images or more of each class and can "
                f"read {len(examples)} of {name!r}; add some, or fit without fine-tuning"
            )
        shuffled = default_rng([self.seed, len(self.names)]).permutation(len(examples)).tolist()
        count = max(1, round(_VALIDATION_FRACTION * len(examples)))
        self._validation += [examples[index] for index in shuffled[:count]]
        self._training += [examples[index] for index in shuffled[count:]]

    def _augment(self, index: int, epoch: int) -> tuple[Preprocessed, int]:
        rng = default_rng([self.seed, epoch, index])
        image, label = self._training[index]
        if self.painted and rng.random() < 0.5:
            image = paint_defect(image, rng, self.defect_types).pixels
            label = 1
        return self.preprocessing(_turn(image, rng, self.max_rotation)), label

    def _validation_versions(self, index: int) -> list[tuple[Preprocessed, int]]:
        """An image and, where defects are painted, the same with one."""
        image, label = self._validation[index]
        versions = [(self.preprocessing(image), label)]
        if self.painted:
            rng = default_rng([self.seed, 0, index])
            painted = paint_defect(image, rng, self.defect_types).pixels
            versions.append((self.preprocessing(painted), 1))
        return versions

    def _batched(self, examples: Iterator[tuple[Preprocessed, int]]) -> Iterator[LabelledBatch]:
        while chunk := list(islice(examples, self.batch_size)):
            images, labels = zip(*chunk, strict=True)
            yield LabelledBatch(torch.from_numpy(np.stack(images)), torch.tensor(labels))


def _turn(image: ImageArray, rng: Generator, degrees: float) -> ImageArray:
    """Turn about the middle and, every other time, mirror.

    Beyond its border an image goes on as its mirror image.
    """
    height, width = image.shape[:2]
    middle = ((width - 1) / 2, (height - 1) / 2)
    rotation = cv2.getRotationMatrix2D(middle, rng.uniform(-degrees, degrees), 1)
    turned = cv2.warpAffine(
        image,
        rotation,
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    mirrored = turned[:, ::-1] if rng.random() < 0.5 else turned
    return np.ascontiguousarray(mirrored)
