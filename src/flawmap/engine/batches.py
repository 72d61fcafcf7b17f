"""Images from disk to batches for a network."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch

from flawmap.errors import ImageError
from flawmap.runtime.certificate import golden_images
from flawmap.runtime.image_types import ImageArray, ImageInput, Preprocessed
from flawmap.runtime.images.decode import (
    DecodedImage,
    UnreadableImage,
    decode,
    decode_ahead,
    file_sha256,
)
from flawmap.runtime.images.depth_hint import depth_hint
from flawmap.runtime.images.image_input import name_of
from flawmap.runtime.preprocess import Preprocessing
from flawmap.runtime.tiles import TileLayout, Tiles, tile_layout
from flawmap.support.progress import track
from flawmap.support.tensors import Images, Indices

_BATCH_SIZE = 4
"""Images that a network takes at once.

On a CPU more of them fall out of its cache and take longer each.
"""

_PIXELS_OF_TILES = _BATCH_SIZE * 320**2
"""Pixels of the tiles that a network takes at once: those of as many images of the usual size."""


class Batch(NamedTuple):
    """Some images, ready for a network.

    Args:
        images: (batch, 3, height, width), preprocessed.
        names: name of each image, for messages.
        is_complete: whether the last image ends with it; False where more of its tiles follow.
    """

    images: Images
    names: list[str]
    is_complete: bool = True


class _Input(NamedTuple):
    """What a network reads at once of an image: all of it, or a tile.

    Args:
        name: of the image.
        array: preprocessed.
        is_last: whether nothing of the image follows.
    """

    name: str
    array: Preprocessed
    is_last: bool


class Batches:
    """Images in batches, read ahead; may be iterated over more than once.

    What cannot be read is skipped and listed in `unreadable`, so that one bad image never stops the
    others.

    Args:
        image_inputs: paths, bytes of files, or arrays.
        preprocessing: how images are made ready for the network.
        size: images of a batch, 1 or more; the last may have fewer. Where images are cut into
            tiles, so many tiles of one image, or fewer where they are large.
        groups: the lot, day or camera of each image; empty where unknown.

    Attributes:
        unreadable: images that the last iteration skipped, and why.
        depth_hint: what to do about the first image whose values use fewer bits than it has.
        readable_indices: indices in `image_inputs` of those that it did not skip.
        layouts: of the tiles of each of these; empty where a graph scores images as a whole.

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
        if self.is_tiled:
            area = preprocessing.height * preprocessing.width
            size = min(size, max(1, _PIXELS_OF_TILES // area))
        self.size = size
        self.unreadable: list[UnreadableImage] = []
        self.readable_indices: list[int] = []
        self.layouts: list[TileLayout] = []
        self.depth_hint = ""
        self._sha256: dict[int, str] = {}
        self._golden: tuple[int, list[ImageArray]] | None = None

    def __len__(self) -> int:
        """The number of batches, if all images can be read, and have as many tiles as the first."""
        if not self.is_tiled:
            return math.ceil(len(self.image_inputs) / self.size)
        return len(self.image_inputs) * math.ceil(self._tiles_of_first / self.size)

    def __iter__(self) -> Iterator[Batch]:
        return self.after(0, {})

    @property
    def is_tiled(self) -> bool:
        """Whether images are cut into tiles."""
        return self.preprocessing.tile_overlap is not None

    @property
    def joins_patches(self) -> bool:
        """Whether images are scored by the distances of their patches, with tiles or zones."""
        return self.preprocessing.joins_patches

    @property
    def input_count(self) -> int:
        """The number of inputs that a network gets, if all images are like the first."""
        return len(self.image_inputs) * (self._tiles_of_first if self.is_tiled else 1)

    @property
    def held_bytes(self) -> int:
        """Decoded images that are in memory with a batch: large ones, that being cut and the next.

        Those that are resized are gone by then.
        """
        if not (self.is_tiled and self.layouts):
            return 0
        height, width = self.layouts[-1].image_size
        return 2 * 3 * height * width

    def after(
        self,
        start: int,
        unreadable: Mapping[int, UnreadableImage],
        sizes: Sequence[tuple[int, int]] = (),
    ) -> Iterator[Batch]:
        """The batches behind the first images, which an earlier run has done.

        Args:
            start: number of images that are done: whole batches, and what could not be read between
                them.
            unreadable: those among them that could not be read, by index.
            sizes: height and width of those that could, in pixels, where images are cut.
        """
        self.unreadable = list(unreadable.values())
        self.readable_indices = [index for index in range(start) if index not in unreadable]
        self.layouts = [tile_layout(*size, self.preprocessing) for size in sizes]
        for chunk in self._chunks(start):
            images = np.stack([array for _, array, _ in chunk])
            names = [name for name, _, _ in chunk]
            yield Batch(torch.from_numpy(images), names, chunk[-1].is_last)

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

    @property
    def input_group_ids(self) -> Indices:
        """The group of each input of the network: of each image, or of each of its tiles."""
        if not self.joins_patches:
            return self.group_ids
        counts = torch.tensor([len(layout.origins) for layout in self.layouts])
        return self.group_ids.repeat_interleave(counts)

    def golden(self) -> list[ImageArray]:
        """Images for a certificate, made of the first one that was read.

        It is kept in no other form, and decoded again only where an earlier run had read it: a
        large one would be in the way for as long as the fit takes.

        Raises:
            ImageError: it cannot be read any more.
        """
        first = self.readable_indices[0]
        if self._golden is None or self._golden[0] != first:
            image = decode(self.image_inputs[first], self.preprocessing.white)
            self._golden = first, golden_images(image, self.preprocessing)
        return self._golden[1]

    def file_hashes(self) -> set[str]:
        """SHA-256 of the files of all images that were read; arrays have none.

        Those that an earlier run read are read again here.
        """
        hashes = set()
        for index in self.readable_indices:
            if index not in self._sha256:
                self._sha256[index] = file_sha256(self.image_inputs[index])
            hashes.add(self._sha256[index])
        return hashes - {""}

    def subset(self, indices: Sequence[int]) -> Batches:
        """Batches of some of the images that the last iteration read, without groups.

        Args:
            indices: which of them, numbered from 0 among the readable ones.
        """
        image_inputs = [self.image_inputs[self.readable_indices[index]] for index in indices]
        return Batches(image_inputs, self.preprocessing, self.size)

    @cached_property
    def _tiles_of_first(self) -> int:
        """The number of tiles of the first image that can be read, perhaps of all others too."""
        for image_input in self.image_inputs:
            # One after the other: several large images at once would take memory for nothing.
            with suppress(ImageError):
                height, width = decode(image_input, self.preprocessing.white).shape[:2]
                return len(tile_layout(height, width, self.preprocessing).origins)
        return 1

    def _chunks(self, start: int) -> Iterator[list[_Input]]:
        """The inputs of each batch; tiles of two images are never together."""
        chunk = []
        for item in self._readable(start):
            chunk.append(item)
            if len(chunk) == self.size or (self.is_tiled and item.is_last):
                yield chunk
                chunk = []
        if chunk:
            yield chunk

    def _readable(self, start: int) -> Iterator[_Input]:
        rest = self.image_inputs[start:]
        decoded = decode_ahead(rest, self.preprocessing)
        for index, image in enumerate(track(decoded, "reading images", len(rest)), start):
            if isinstance(image, UnreadableImage):
                self.unreadable.append(image)
            else:
                self.readable_indices.append(index)
                self._sha256[index] = image.sha256
                if len(self.readable_indices) == 1:
                    self._golden = index, golden_images(image.image, self.preprocessing)
                self.depth_hint = self.depth_hint or depth_hint(
                    image.image_input, image.image, self.preprocessing
                )
                # Only what the network reads is kept: the decoded image may be a hundred times
                # larger.
                yield from self._inputs_of(image)
            # Else it would be held while the next one is decoded.
            del image

    def _inputs_of(self, image: DecodedImage) -> Iterator[_Input]:
        name = name_of(image.image_input)
        if not isinstance(image.network_input, Tiles):
            yield _Input(name, image.network_input, is_last=True)
            return
        tiles = image.network_input
        self.layouts.append(tiles.layout)
        for number, tile in enumerate(tiles, 1):
            yield _Input(name, tile, number == len(tiles))
