"""Images from disk to batches for a network."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch

from flawmap.runtime.images.decode import UnreadableImage, decode_ahead
from flawmap.runtime.images.depth_hint import depth_hint
from flawmap.runtime.images.image_input import name_of
from flawmap.runtime.preprocess import ImageInput, Preprocessed, Preprocessing
from flawmap.support.progress import track
from flawmap.support.tensors import Images, Indices

_BATCH_SIZE = 4
"""Images that a network takes at once.

On a CPU more of them fall out of its cache and take longer each.
"""


class Batch(NamedTuple):
    """Some images, ready for a network.

    Args:
        images: (batch, 3, height, width), preprocessed.
        names: name of each image, for messages.
    """

    images: Images
    names: list[str]


class Batches:
    """Images in batches, read ahead; may be iterated over more than once.

    What cannot be read is skipped and listed in `unreadable`, so that one bad image never stops the
    others.

    Args:
        image_inputs: paths, bytes of files, or arrays.
        preprocessing: how images are made ready for the network.
        size: images of a batch, 1 or more; the last may have fewer.
        groups: the lot, day or camera of each image; empty where unknown.

    Attributes:
        unreadable: images that the last iteration skipped, and why.
        depth_hint: what to do about the first image whose values use fewer bits than it has.
        readable_indices: indices in `image_inputs` of those that it did not skip.

    Example:
        >>> grey = np.full((64, 64, 3), 128, np.uint8)
        >>> batches = Batches([grey, b"no image", grey], Preprocessing(32, 32))
        >>> [tuple(batch.images.shape) for batch in batches]
        [(2, 3, 32, 32)]
        >>> batches.readable_indices, len(batches.unreadable)
        ([0, 2], 1)
    """

    def __init__(
        self,
        image_inputs: Sequence[ImageInput],
        preprocessing: Preprocessing,
        size: int = _BATCH_SIZE,
        *,
        groups: Sequence[str] = (),
    ) -> None:
        self.image_inputs = image_inputs
        self.preprocessing = preprocessing
        self.groups = groups
        self.size = size
        self.unreadable: list[UnreadableImage] = []
        self.readable_indices: list[int] = []
        self.depth_hint = ""

    def __len__(self) -> int:
        """The number of batches, if all images can be read."""
        return math.ceil(len(self.image_inputs) / self.size)

    def __iter__(self) -> Iterator[Batch]:
        return self.after(0, {})

    def after(self, start: int, unreadable: Mapping[int, UnreadableImage]) -> Iterator[Batch]:
        """The batches behind the first images, which an earlier run has done.

        Args:
            start: number of images that are done: whole batches, and what could not be read between
                them.
            unreadable: those among them that could not be read, by index.
        """
        self.unreadable = list(unreadable.values())
        self.readable_indices = [index for index in range(start) if index not in unreadable]
        readable = self._readable(start)
        while chunk := list(islice(readable, self.size)):
            names = [name for name, _ in chunk]
            images = np.stack([image for _, image in chunk])
            yield Batch(torch.from_numpy(images), names)

    @property
    def readable_groups(self) -> list[str]:
        """The groups of the images that the last iteration read; empty for fewer than two."""
        if not self.groups:
            return []
        groups = [self.groups[index] for index in self.readable_indices]
        return groups if len(set(groups)) > 1 else []

    @property
    def group_ids(self) -> Indices:
        """The group of each image that the last iteration read, numbered from 0.

        Where there are none, each image is its own.
        """
        groups = self.readable_groups or [str(index) for index in self.readable_indices]
        numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
        return torch.tensor([numbers[group] for group in groups], dtype=torch.long)

    def subset(self, indices: Sequence[int]) -> Batches:
        """Batches of some of the images that the last iteration read, without groups.

        Args:
            indices: which of them, numbered from 0 among the readable ones.
        """
        image_inputs = [self.image_inputs[self.readable_indices[index]] for index in indices]
        return Batches(image_inputs, self.preprocessing, self.size)

    def _readable(self, start: int) -> Iterator[tuple[str, Preprocessed]]:
        rest = self.image_inputs[start:]
        decoded = decode_ahead(rest, self.preprocessing)
        for index, image in enumerate(track(decoded, "reading images", len(rest)), start):
            if isinstance(image, UnreadableImage):
                self.unreadable.append(image)
            else:
                self.readable_indices.append(index)
                self.depth_hint = self.depth_hint or depth_hint(
                    image.image_input, image.image, self.preprocessing
                )
                # Only the preprocessed image is kept: the decoded one may be a hundred times
                # larger.
                yield name_of(image.image_input), image.preprocessed
