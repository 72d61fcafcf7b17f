"""Held-out good images, and the defects that are painted on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from flawmap.errors import ImageError
from flawmap.runtime.image_types import ImageArray, ImageInput
from flawmap.runtime.images.decode import decode, map_ahead
from flawmap.synthetic.foreground import part_foreground
from flawmap.synthetic.probes import PROBE_KINDS, Probe, paint_probe

CONTRAST = 5.0
"""Of all probes, in multiples of the noise around them."""

_SIZE_STEPS = np.geomspace(1 / 64, 1 / 8, 5)
"""Sizes of the probes, as fractions of the shorter side of an image."""

_SCRATCH_FACTOR = 2
"""A scratch is that much longer than a dot is wide."""

_MIN_SIZE = 3
"""Of any probe, in pixels: a smaller texture has no grain."""

_PER_CELL = 20
"""Images that get a probe of one kind and size."""


class Version(NamedTuple):
    """A held-out image, as it is or with a painted defect.

    Args:
        image: decoded.
        source: index of the good image.
        probe: what is painted on it; None for nothing.
    """

    image: ImageArray
    source: int
    probe: Probe | None


@dataclass(frozen=True)
class ProbeSet:
    """Good images, each with the defects to be painted on copies of it.

    Args:
        images: good images that can be read.
        probes: those of each image.
        seed: of positions, shapes and signs.
        white: the level of white in images of 16 bits; None for 65535.

    Example:
        >>> probes = [[Probe("dot", size=6, contrast=4)], []]
        >>> probe_set = ProbeSet([np.full((64, 64, 3), 128, np.uint8)] * 2, probes, seed=0)
        >>> [(version.source, version.probe is None) for version in probe_set]
        [(0, True), (0, False), (1, True)]
    """

    images: Sequence[ImageInput]
    probes: Sequence[Sequence[Probe]]
    seed: int
    white: int | None = None

    def __len__(self) -> int:
        """The number of images, with and without a defect."""
        return len(self.images) + self.count

    def __iter__(self) -> Iterator[Version]:
        """Each good image, followed by its copies with a defect; the same ones every time."""
        for versions in map_ahead(self._versions, range(len(self.images)), ahead=2):
            yield from versions

    @property
    def count(self) -> int:
        """The number of defects."""
        return sum(len(probes) for probes in self.probes)

    def _versions(self, index: int) -> list[Version]:
        good = decode(self.images[index], self.white)
        foreground = part_foreground(good)
        versions = [Version(good, index, None)]
        for number, probe in enumerate(self.probes[index]):
            rng = np.random.default_rng([self.seed, index, number])
            painted = paint_probe(good, probe, rng, foreground)
            versions.append(Version(painted.image, index, probe))
        return versions


def make_probe_set(
    images: Sequence[ImageInput],
    seed: int,
    *,
    contrast: float = CONTRAST,
    white: int | None = None,
) -> ProbeSet:
    """Probes of each kind in graded sizes, spread evenly over the images that can be read.

    Sizes go from 1/64 to 1/8 of the shorter side of the images, scratches are twice as long. Each
    kind and size is painted on 20 images, or on all where they are fewer.

    Args:
        images: good images.
        seed: of all that is drawn.
        contrast: of all probes, in multiples of the noise around them.
        white: the level of white in images of 16 bits; None for 65535.

    Example:
        >>> images = [np.full((128, 256, 3), 128, np.uint8)] * 3
        >>> probes = make_probe_set(images, seed=0).probes[0]
        >>> sorted({probe.size for probe in probes if probe.kind == "stain"})
        [3.0, 6.0, 10.0, 16.0]
    """
    sides = [_shorter_side(image) for image in images]
    readable = [image for image, side in zip(images, sides, strict=True) if side]
    typical = float(np.median([side for side in sides if side] or [0]))
    probes: list[list[Probe]] = [[] for _ in readable]
    order = np.random.default_rng(seed).permutation(len(readable)).tolist()
    turn = 0
    for probe in _graded(typical, contrast):
        for _ in range(min(_PER_CELL, len(readable))):
            probes[order[turn % len(order)]].append(probe)
            turn += 1
    return ProbeSet(readable, probes, seed, white)


def _graded(side: float, contrast: float) -> list[Probe]:
    probes = []
    for kind in PROBE_KINDS:
        factor = _SCRATCH_FACTOR if kind == "scratch" else 1
        sizes = np.maximum(np.rint(side * factor * _SIZE_STEPS), _MIN_SIZE)
        probes += [Probe(kind, size, contrast) for size in np.unique(sizes).tolist()]
    return probes


def _shorter_side(image: ImageInput) -> int:
    """In pixels; 0 for an image that cannot be read."""
    try:
        height, width = decode(image).shape[:2]
    except ImageError:
        return 0
    return int(min(height, width))
