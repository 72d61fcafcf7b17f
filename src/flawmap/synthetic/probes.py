"""Painted defects of a stated size and contrast, to measure how small a defect is still found.

`synthetic.defects` paints what looks like a defect; here it is known how large and how strong one
is, on every part in the same units: pixels of the image, and grey levels or multiples of the noise
around.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from flawmap.errors import OptionError
from flawmap.runtime.image_types import ImageArray, Mask
from flawmap.runtime.preprocess import WHITE
from flawmap.synthetic.blend import FloatImage
from flawmap.synthetic.foreground import part_foreground, roomy_position
from flawmap.synthetic.probe_shapes import blob, disc, grain, line

ProbeKind = Literal["dot", "scratch", "stain", "texture"]
"""`dot`: a disc. `scratch`: a thin line, slightly curved. `stain`: an uneven blob with soft edges.
`texture`: a spot of foreign grain, as bright as the part."""

_ContrastUnit = Literal["levels", "noise"]
"""`levels`: 1/255 of white, at any depth. `noise`: the standard deviation around the defect."""

PROBE_KINDS: tuple[ProbeKind, ...] = get_args(ProbeKind)
"""All kinds of probes."""

_MIN_NOISE_LEVELS = 1.0
"""Noise of an image that has none: what rounding to 8 bits hides."""

_SPREAD_WITHIN_TENTHS = 0.8238
"""Standard deviation of a normal variable clipped to its first and last tenth."""

_MIN_WINDOW = 32
"""Side of the smallest window that noise is measured in, in pixels."""

_LENGTH_PER_WIDTH = 16
"""Length of a scratch in widths, unless a width is given."""

_MIN_TEXTURE_SIZE = 3
"""A smaller texture has no grain; in pixels."""

_Shape = tuple[FloatImage, FloatImage]
_Box = tuple[slice, slice]


@dataclass(frozen=True)
class Probe:
    """A defect to be painted.

    Args:
        kind: one of `PROBE_KINDS`.
        size: in pixels of the image, >= 1, of a texture >= 3: diameter of a dot, length of a
            scratch, diameter of the disc with the area of a stain or a texture. Edges are soft, and
            sizes are those at half of the contrast.
        contrast: change of the grey level, > 0: that of a dot, scratch or stain where it is
            strongest, the standard deviation of a texture's.
        unit: of the contrast.
        width: of a scratch, in pixels, >= 1; None for a sixteenth of its length.

    Raises:
        OptionError: an unknown kind or unit, or a value out of its range.

    Example:
        >>> Probe("scratch", size=32, contrast=20, unit="levels").stroke
        2.0
    """

    kind: ProbeKind
    size: float
    contrast: float
    unit: _ContrastUnit = "noise"
    width: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in PROBE_KINDS:
            raise OptionError(
                f"there is no probe of kind {self.kind!r}; there are {', '.join(PROBE_KINDS)}"
            )
        if self.unit not in get_args(_ContrastUnit):
            raise OptionError(f"a contrast in {self.unit!r}; give it in levels or noise")
        smallest = _MIN_TEXTURE_SIZE if self.kind == "texture" else 1
        if not (self.size >= smallest and math.isfinite(self.size)):
            raise OptionError(f"a {self.kind} of {self.size:g} pixels; give {smallest} or more")
        if not (self.contrast > 0 and math.isfinite(self.contrast)):
            raise OptionError(f"a probe with a contrast of {self.contrast}; give more than 0")
        if self.width is not None and not 1 <= self.width <= self.size:
            raise OptionError(f"a scratch {self.width} pixels wide; give 1 up to its length")

    @property
    def stroke(self) -> float:
        """The width of a scratch, in pixels."""
        return self.width or max(self.size / _LENGTH_PER_WIDTH, 1.0)

    @property
    def area(self) -> float:
        """The area of the defect, in pixels."""
        if self.kind == "scratch":
            return self.size * self.stroke
        return math.pi * self.size**2 / 4


class _PaintedProbe(NamedTuple):
    """An image with a defect of known size and contrast.

    Args:
        image: RGB, in the size and depth of the good image.
        mask: True where the change has at least half of its strength.
        probe: what was painted.
        levels: contrast in grey levels, 1/255 of white; negative where darker. It is what was asked
            for, even where the image ended at black or white before.
    """

    image: ImageArray
    mask: Mask
    probe: Probe
    levels: float


def paint_probe(
    image: ImageArray, probe: Probe, rng: Generator, foreground: Mask | None = None
) -> _PaintedProbe:
    """A copy of an image with a defect of stated size and contrast.

    It lies within the part, wholly where there is room, and is darker or brighter with equal
    chance; only darker, or only brighter, where the grey levels leave no room for the other. The
    same state of the generator gives the same position and sign for any contrast, and for any size
    that has room there.

    Args:
        image: a good part, decoded: uint8, uint16, or float32 in 0…1.
        probe: what is painted.
        rng: all that the defect depends on besides.
        foreground: (height, width), True where a defect may lie; None for `part_foreground`.

    Raises:
        OptionError: the defect is larger than the image, or the foreground is empty or of another
            size.

    Example:
        >>> good = np.full((64, 96, 3), 150, np.uint8)
        >>> probe = Probe("dot", size=8, contrast=20, unit="levels")
        >>> painted = paint_probe(good, probe, np.random.default_rng(7))
        >>> int(painted.mask.sum()), abs(int(painted.image[painted.mask].max()) - 150) <= 20
        (49, True)
    """
    allowed = part_foreground(image) if foreground is None else foreground
    _check_room(image, probe, allowed)
    placing, shaping = rng.spawn(2)
    x, y = roomy_position(placing, allowed, probe.size / 2 + 0.5)
    noise = local_noise(image, x, y, probe.size) if probe.unit == "noise" else 1.0
    below = _grey_levels(image, x, y, math.ceil(probe.size / 2))
    levels = _signed(placing, probe.contrast * noise, below)
    shape, change = _SHAPES[probe.kind](shaping, probe)
    corner = (x - shape.shape[1] // 2, y - shape.shape[0] // 2)
    painted = _add(image, change * levels, corner)
    mask = _place(shape >= 0.5, corner, allowed.shape)
    return _PaintedProbe(painted, mask, probe, levels)


def local_noise(image: ImageArray, x: int, y: int, size: float) -> float:
    """The noise of an image at a position: a robust standard deviation of its grey levels.

    That of the grey levels clipped to their first and last tenth, in a window twice as large as a
    defect and of 32 pixels or more. At least 1 grey level: 8 bits show nothing finer.

    Args:
        image: a decoded image.
        x: column of the position, in pixels.
        y: row of the position, in pixels.
        size: of the defect that lies there, in pixels.

    Returns:
        In grey levels, 1/255 of white.

    Example:
        >>> noisy = np.random.default_rng(0).normal(128, 6, (64, 64, 1)).clip(0, 255)
        >>> 5 < local_noise(noisy.astype(np.uint8).repeat(3, axis=2), 32, 32, 8) < 7
        True
    """
    grey = _grey_levels(image, x, y, math.ceil(max(2 * size, _MIN_WINDOW) / 2))
    tenths = np.percentile(grey, [10, 90])
    spread = float(np.clip(grey, *tenths).std()) / _SPREAD_WITHIN_TENTHS
    return max(spread, _MIN_NOISE_LEVELS)


def _check_room(image: ImageArray, probe: Probe, foreground: Mask) -> None:
    height, width = image.shape[:2]
    if probe.size > min(height, width):
        raise OptionError(
            f"a {probe.kind} of {probe.size:g} pixels on an image of {width}×{height}; give one "
            f"of {min(height, width)} or fewer"
        )
    if foreground.shape != (height, width) or not foreground.any():
        rows, columns = foreground.shape
        raise OptionError(
            f"the foreground is {columns}×{rows} with {np.count_nonzero(foreground)} pixels "
            f"marked; mark one pixel or more on {width}×{height}, or give None"
        )


# The shapes: (rng, probe) -> fraction of the contrast in each pixel around the middle, and the
# change of each in units of the contrast. They differ where the change has both signs.


def _dot(_: Generator, probe: Probe) -> _Shape:
    shape = disc(probe.size)
    return shape, shape


def _scratch(rng: Generator, probe: Probe) -> _Shape:
    shape = line(rng, probe.size, probe.stroke)
    return shape, shape


def _stain(rng: Generator, probe: Probe) -> _Shape:
    shape = blob(rng, probe.size, softness=0.3)
    return shape, shape


def _texture(rng: Generator, probe: Probe) -> _Shape:
    shape = blob(rng, probe.size, softness=0.2)
    return shape, grain(rng, shape)


_SHAPES: dict[str, Callable[[Generator, Probe], _Shape]] = {
    "dot": _dot,
    "scratch": _scratch,
    "stain": _stain,
    "texture": _texture,
}


def _grey_levels(image: ImageArray, x: int, y: int, reach: int) -> FloatImage:
    """Grey levels of a window about a pixel, in 1/255 of white."""
    rows = slice(max(y - reach, 0), y + reach + 1)
    columns = slice(max(x - reach, 0), x + reach + 1)
    window = image[rows, columns].astype(np.float32)
    return np.asarray(window.mean(axis=2) * (255 / WHITE[image.dtype]), np.float32)


def _signed(rng: Generator, levels: float, below: FloatImage) -> float:
    """The levels with a random sign, or with the other one where only that has room."""
    low, high = np.percentile(below, [5, 95]).tolist()
    room = {1: 255 - high, -1: low}
    sign = int(rng.choice((-1, 1)))
    lacks_room = room[sign] < min(levels, room[-sign])
    return -sign * levels if lacks_room else sign * levels


def _add(image: ImageArray, levels: FloatImage, corner: tuple[int, int]) -> ImageArray:
    """The image with levels added to all channels."""
    white = WHITE[image.dtype]
    inside, of_image = _overlap(levels.shape, corner, image.shape)
    added = image[of_image] + levels[inside][..., None] * (white / 255)
    painted = image.copy()
    whole = added if image.dtype == np.float32 else np.rint(added)
    painted[of_image] = np.clip(whole, 0, white)
    return painted


def _place(
    body: npt.NDArray[np.bool_], corner: tuple[int, int], shape: tuple[int, ...]
) -> npt.NDArray[np.bool_]:
    inside, of_image = _overlap(body.shape, corner, shape)
    mask = np.zeros(shape, bool)
    mask[of_image] = body[inside]
    return mask


def _overlap(
    small: tuple[int, ...], corner: tuple[int, int], large: tuple[int, ...]
) -> tuple[_Box, _Box]:
    """What of a small array lies on a large one: the box in the small one, and in the large one."""
    x, y = corner
    of_rows = slice(max(y, 0), min(y + small[0], large[0]))
    of_columns = slice(max(x, 0), min(x + small[1], large[1]))
    rows = slice(of_rows.start - y, of_rows.stop - y)
    columns = slice(of_columns.start - x, of_columns.stop - x)
    return (rows, columns), (of_rows, of_columns)
