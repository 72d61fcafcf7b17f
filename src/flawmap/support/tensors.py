"""Shapes of tensors as types; the tests check them at run time with beartype.

The only module below `features` that imports torch. A shape with one axis starts with a space, so
that linters do not take it for a forward reference. An axis that starts with _ may differ between
the arguments of one call.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

Images = Float[Tensor, "batch 3 height width"]
"""RGB images as `runtime.preprocess` makes them: resized, scaled and normalised."""

Features = Float[Tensor, "batch _channel _row _column"]
"""One layer's output."""

PatchGrid = Float[Tensor, "_image row column channel"]
"""One vector per patch, image by image, at its position."""

Patches = Float[Tensor, "_patch channel"]
"""One vector per patch, image by image, row by row."""

Distances = Float[Tensor, "batch row column"]
"""One distance per patch, >= 0."""

_NearestRows = Int[Tensor, "batch row column"]
"""For each patch the row of a bank that holds its nearest vector, from 0."""

Inside = Float[Tensor, "batch _position"]
"""1 for each patch that counts and 0 for padding, row by row."""

Maps = Float[Tensor, "batch height width"]
"""One distance per pixel, >= 0."""

PerImage = Float[Tensor, " batch"]
"""One number per image."""

Indices = Int[Tensor, " index"]
"""Row numbers, from 0."""


class Embedded(NamedTuple):
    """What an encoder makes of a batch; it knows nothing of good parts.

    Args:
        maps: one joined patch grid, or one map per layer; four axes each, the image's first.
        transforms: affine transforms, (batch, 2, 3), of each stage where images were registered;
            empty elsewhere.
        inside: 1 for each patch that counts and 0 for padding, (batch, row · column), row by row;
            None where all count.

    Example:
        >>> embedded = Embedded((torch.zeros(2, 8, 8, 5),), (torch.zeros(2, 2, 3),))
        >>> [tuple(tensor.shape) for tensor in embedded.flatten()]
        [(2, 8, 8, 5), (2, 2, 3)]
        >>> len(Embedded.unflatten(embedded.flatten()).transforms)
        1
    """

    maps: tuple[Tensor, ...]
    transforms: tuple[Tensor, ...] = ()
    inside: Inside | None = None

    def flatten(self) -> list[Tensor]:
        """All tensors in one list: the maps, the transforms, and which patches count."""
        inside = [] if self.inside is None else [self.inside]
        return [*self.maps, *self.transforms, *inside]

    @staticmethod
    def unflatten(tensors: Iterable[Tensor]) -> Embedded:
        """The tensors of `flatten`, each in its place again.

        Args:
            tensors: what `flatten` returned; maps have four axes, transforms three, and what says
                which patches count has two.
        """
        flat = list(tensors)
        maps = tuple(tensor for tensor in flat if tensor.ndim == 4)
        transforms = tuple(tensor for tensor in flat if tensor.ndim == 3)
        inside = next((tensor for tensor in flat if tensor.ndim == 2), None)
        return Embedded(maps, transforms, inside)

    def image(self, index: int) -> Embedded:
        """The tensors of one image, as a batch of one.

        Args:
            index: number of the image in the batch, from 0.
        """
        return Embedded.unflatten(tensor[index, None] for tensor in self.flatten())

    def to(self, device: torch.device) -> Embedded:
        """The same tensors on another device.

        Args:
            device: the device to bring them to.
        """
        return Embedded.unflatten(tensor.to(device) for tensor in self.flatten())


class Compared(NamedTuple):
    """What a head finds when it compares a batch with what was fitted.

    Args:
        distances: (batch, row, column) of each level, >= 0; the larger, the less like good parts.
        nearest_rows: the bank's row nearest to each patch, (batch, row, column); None where there
            is no bank.
    """

    distances: tuple[Distances, ...]
    nearest_rows: _NearestRows | None = None


class Scores(NamedTuple):
    """Raw distances of a batch, the larger the less like good parts.

    Args:
        image: score of each image, (batch,), >= 0.
        pixel: anomaly map of each image, (batch, height, width), >= 0.
    """

    image: PerImage
    pixel: Maps
