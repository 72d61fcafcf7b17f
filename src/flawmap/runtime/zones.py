"""Zones: parts of an image that a user names, each with a budget of false rejects of its own.

On the command line they are regions (`--regions`). Here a region is what a heat map shows,
connected pixels above the limit; hence another word.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np

from flawmap.errors import ImageError, OptionError
from flawmap.runtime.grey_png import (
    GreyPixels,
    PixelSize,
    check_size,
    decode_grey,
    encode_grey,
    has_aspect,
    scaled_nearest,
)

ELSEWHERE = "elsewhere"
"""The zone of all pixels that count and are in none that was drawn."""

MAX_ZONES = 64
"""Most zones of an image: each takes a threshold of its own."""

_LONGEST_NAME = 100
"""Most characters of a name, which stands in tables and beside images."""

_MAP = "the map of regions"


@dataclass(frozen=True)
class Zones:
    """Which zone each pixel of an image is in.

    Args:
        png: a grey PNG of 8 bits, in base64: the number of each pixel's zone, from 1; 0 for none.
        names: of the zones, in the order of their numbers; unique, not empty.

    Raises:
        OptionError: it is no such PNG, has too many pixels, or a zone without a pixel or a name.

    Example:
        >>> zones = Zones.of(np.array([[1, 1], [1, 2]], np.uint8), ("bore", "face"))
        >>> zones.share("face"), zones.at(4, 4)[3].tolist()
        (0.25, [1, 1, 2, 2])
    """

    png: str = field(repr=False)
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.names) <= MAX_ZONES:
            raise OptionError(f"{len(self.names)} regions; use 1 to {MAX_ZONES}")
        if "" in self.names or len(set(self.names)) < len(self.names):
            raise OptionError(f"regions {self.names}: each takes a name of its own")
        if not all(name.isprintable() and len(name) <= _LONGEST_NAME for name in self.names):
            raise OptionError(
                f"regions {self.names}: use names of up to {_LONGEST_NAME} printable characters"
            )
        found = np.flatnonzero(np.bincount(self.labels.ravel(), minlength=256))
        if found[-1] > len(self.names):
            raise OptionError(f"{_MAP} has a region {found[-1]}, and {len(self.names)} have names")
        for number, name in enumerate(self.names, 1):
            if number not in found:
                raise OptionError(f"nothing is in the region {name!r}")

    @classmethod
    def of(cls, labels: GreyPixels, names: tuple[str, ...]) -> Zones:
        """The zones of these pixels.

        Args:
            labels: (height, width), the number of each pixel's zone, from 1; 0 for none.
            names: in the order of the numbers.

        Raises:
            OptionError: there are too many pixels, or a zone without a pixel or a name.
        """
        height, width = labels.shape
        check_size(height, width, _MAP)
        return cls(encode_grey(labels), names)

    @cached_property
    def labels(self) -> GreyPixels:
        """The number of each pixel's zone, in the map's own size."""
        return decode_grey(self.png, _MAP)

    def share(self, name: str) -> float:
        """The fraction of the pixels in a zone, more than 0 and at most 1.

        Args:
            name: of the zone.
        """
        return float((self.labels == self.names.index(name) + 1).mean())

    def at(self, height: int, width: int) -> GreyPixels:
        """The zones in the size of an image, each pixel that at the same place.

        Args:
            height: of the image, in pixels.
            width: of the image, in pixels.

        Returns:
            (height, width), not to be changed: the same array for the next image of that size.

        Raises:
            ImageError: the image has another aspect.
        """
        return _scaled(self, height, width)


# Two, for a series may have images of two cameras; of large ones each takes tens of megabytes.
@lru_cache(maxsize=2)
def _scaled(zones: Zones, height: int, width: int) -> GreyPixels:
    own = PixelSize(*zones.labels.shape)
    if not has_aspect(own, height, width):
        raise ImageError(
            f"{width}×{height} pixels, an aspect of {width / height:.3g}, and the regions are for "
            f"{own}, an aspect of {own.width / own.height:.3g}; draw them on an image like this one"
        )
    labels: GreyPixels = scaled_nearest(zones.labels, height, width)
    labels.flags.writeable = False
    return labels
