"""What a backbone is fine-tuned with: images by class, turned, mirrored.

Defects are painted where there are none.

Li et al. (2025), section 2.4: 256×256, a random turn, a random mirroring. Defects are painted by
`defects`.
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
from flawmap.runtime.decode import decode, map_ahead
from flawmap.runtime.preprocess import (
    ImageArray,
    ImageInput,
    Preprocessed,
    Preprocessing,
    resize,
    to_uint8,
)
from flawmap.support.progress import track
from flawmap.support.tensors import Images, Indices
from flawmap.synthetic.defects import PAINTED_TYPES, paint_defect

PAINTED_CLASS = "painted defect"
"""The second class where only one was given."""

VALIDATION_FRACTION = 0.2
"""Share of each class's images that are never trained on."""

MIN_IMAGES_PER_CLASS = 2
"""Images of a class: one to train on and one to check with."""


class _Example(NamedTuple):
    pixels: ImageArray
    label: int


class FineTuneDataset:
    """Images by class, in batches, for training and for checking.

    All are read at once and held small, 0.2 MB each at 256×256. A fifth of each class is never
    trained on. Every image comes once an epoch, turned and mirrored at random. Where there is one
    class, the second are its own images with a defect painted on: every other one in training, each
    of them beside the good one in checking.

    Args:
        classes: images by the name of their class; those that cannot be read are left out.
        preparation: what makes them ready for the network; its size is that of the lessons.
        batch: images at a time.
        rotation: they are turned by up to so many degrees either way.
        kinds: of painted defects; none named means all.
        seed: of everything random.

    Raises:
        DatasetError: a class has fewer than two images that can be read.
    """

    def __init__(
        self,
        classes: Mapping[str, Sequence[ImageInput]],
        preparation: Preprocessing,
        *,
        batch: int = 32,
        rotation: float = 10.0,
        kinds: Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        self.preparation, self.batch, self.rotation, self.seed = preparation, batch, rotation, seed
        self.painted, self.kinds = len(classes) == 1, tuple(kinds) or PAINTED_TYPES
        self.names = [*classes, PAINTED_CLASS] if self.painted else list(classes)
        self._train: list[_Example] = []
        self._check: list[_Example] = []
        for label, (name, images) in enumerate(classes.items()):
            self._share_out([_Example(pixels, label) for pixels in self._read(images)], name)

    def __len__(self) -> int:
        """Count the images of an epoch."""
        return len(self._train)

    def num_batches(self) -> int:
        """Count its batches."""
        return math.ceil(len(self) / self.batch)

    def training_batches(self, epoch: int) -> Iterator[LabelledBatch]:
        """Give the images of an epoch in batches, in an order of its own."""
        order = default_rng([self.seed, epoch]).permutation(len(self._train)).tolist()
        yield from self._batched(map_ahead(lambda place: self._vary(place, epoch), order))

    def validation_batches(self) -> Iterator[LabelledBatch]:
        """Give the images that are kept for checking, as they lie."""
        yield from self._batched(
            chain.from_iterable(map_ahead(self._both, range(len(self._check))))
        )

    def fingerprint(self) -> str:
        """Hash all that is taught: classes, pixels, and how they are varied; SHA-256 in hex."""
        how = (self.names, self.preparation, self.batch, self.rotation, self.kinds, self.seed)
        digest = hashlib.sha256(repr(how).encode())
        for pixels, label in self._train + self._check:
            digest.update(f"{label} {pixels.shape}\n".encode())
            digest.update(pixels.tobytes())
        return digest.hexdigest()

    def _read(self, images: Sequence[ImageInput]) -> Iterator[ImageArray]:
        loaded = track(
            map_ahead(self._small, images), "reading images to fine-tune with", len(images)
        )
        yield from (pixels for pixels in loaded if pixels is not None)

    def _small(self, image: ImageInput) -> ImageArray | None:
        # What cannot be read is named by the fit that follows.
        try:
            return resize(to_uint8(decode(image)), self.preparation.height, self.preparation.width)
        except ImageError:
            return None

    def _share_out(self, examples: list[_Example], name: str) -> None:
        if len(examples) < MIN_IMAGES_PER_CLASS:
            raise DatasetError(
                f"fine-tuning needs {MIN_IMAGES_PER_CLASS} images or more of each class and can "
                f"read {len(examples)} of {name!r}; "
                "add some, or fit without fine-tuning"
            )
        shuffled = default_rng([self.seed, len(self.names)]).permutation(len(examples)).tolist()
        checked = max(1, round(VALIDATION_FRACTION * len(examples)))
        self._check += [examples[place] for place in shuffled[:checked]]
        self._train += [examples[place] for place in shuffled[checked:]]

    def _vary(self, place: int, epoch: int) -> tuple[Preprocessed, int]:
        rng = default_rng([self.seed, epoch, place])
        pixels, label = self._train[place]
        if self.painted and rng.random() < 0.5:
            pixels, label = paint_defect(pixels, rng, self.kinds).pixels, 1
        return self.preparation(_turn(pixels, rng, self.rotation)), label

    def _both(self, place: int) -> list[tuple[Preprocessed, int]]:
        pixels, label = self._check[place]
        versions = [(pixels, label)]
        if self.painted:
            versions.append(
                (paint_defect(pixels, default_rng([self.seed, 0, place]), self.kinds).pixels, 1)
            )
        return [(self.preparation(version), number) for version, number in versions]

    def _batched(self, examples: Iterator[tuple[Preprocessed, int]]) -> Iterator[LabelledBatch]:
        while chunk := list(islice(examples, self.batch)):
            prepared, labels = zip(*chunk, strict=True)
            yield LabelledBatch(torch.from_numpy(np.stack(prepared)), torch.tensor(labels))


def _turn(pixels: ImageArray, rng: Generator, degrees: float) -> ImageArray:
    """Turn about the middle and, every other time, mirror.

    Beyond its border an image goes on as its mirror image.
    """
    height, width = pixels.shape[:2]
    turn = cv2.getRotationMatrix2D(
        ((width - 1) / 2, (height - 1) / 2), rng.uniform(-degrees, degrees), 1
    )
    turned = cv2.warpAffine(
        pixels, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.ascontiguousarray(turned[:, ::-1] if rng.random() < 0.5 else turned)


class LabelledBatch(NamedTuple):
    """Images and the numbers of their classes."""

    images: Images
    labels: Indices
