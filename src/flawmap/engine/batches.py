"""Images from disk to batches for a network."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch

from flawmap.runtime.decode import UnreadableImage, decode_ahead, name_of
from flawmap.runtime.preprocess import ImageInput, Preprocessed, Preprocessing
from flawmap.support.progress import track
from flawmap.support.tensors import Images, Indices

BATCH = 4
"""Images that a network takes at once.

On a CPU more of them fall out of its cache and take longer each.
"""


class Batch(NamedTuple):
    """Some images, ready for a network."""

    images: Images
    names: list[str]


class Batches:
    """The images of `images` in batches; may be gone round more than once.

    What cannot be used is left out and listed in `unreadable`, so that one bad image never stops
    the others.

    Args:
        images: the images.
        preparation: what makes them ready for the network.
        size: of a batch.
        groups: the lot, day or camera of each, where they are known.
    """

    def __init__(
        self,
        image_inputs: Sequence[ImageInput],
        preprocessing: Preprocessing,
        size: int = BATCH,
        *,
        groups: Sequence[str] = (),
    ) -> None:
        self.image_inputs = image_inputs
        self.preprocessing = preprocessing
        self.groups = groups
        self.size = size
        self.unreadable: list[UnreadableImage] = []
        self.readable_indices: list[int] = []

    def __len__(self) -> int:
        """Count the batches, as if all images could be used."""
        return math.ceil(len(self.image_inputs) / self.size)

    def __iter__(self) -> Iterator[Batch]:
        self.unreadable, self.readable_indices = [], []
        readable = self._readable()
        while chunk := list(islice(readable, self.size)):
            names, prepared = zip(*chunk, strict=True)
            yield Batch(torch.from_numpy(np.stack(prepared)), list(names))

    @property
    def readable_groups(self) -> list[str]:
        """The groups of the images that could be used the last time round.

        None where there are not two of them.
        """
        groups = [self.groups[place] for place in self.readable_indices] if self.groups else []
        return groups if len(set(groups)) > 1 else []

    @property
    def group_ids(self) -> Indices:
        """The group of each of those images, numbered from 0.

        Where there are none, each image is its own.
        """
        groups = self.readable_groups or [str(place) for place in self.readable_indices]
        numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
        return torch.tensor([numbers[group] for group in groups], dtype=torch.long)

    def subset(self, indices: Sequence[int]) -> Batches:
        """Give batches of some of those images."""
        return Batches(
            [self.image_inputs[self.readable_indices[place]] for place in indices],
            self.preprocessing,
            self.size,
        )

    def _readable(self) -> Iterator[tuple[str, Preprocessed]]:
        loaded = track(
            decode_ahead(self.image_inputs, self.preprocessing),
            "reading images",
            len(self.image_inputs),
        )
        for place, one in enumerate(loaded):
            if isinstance(one, UnreadableImage):
                self.unreadable.append(one)
            else:
                self.readable_indices.append(place)
                # Only the prepared image is kept: the decoded one may be a hundred times larger.
                yield name_of(one.image_input), one.preprocessed
