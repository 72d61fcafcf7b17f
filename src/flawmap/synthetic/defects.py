"""Painted defects on images of good parts, where no defective part was ever seen.

Five types. ``texture``: Perlin-shaped spots of a foreign texture, as in Zavrtanik et al. 2021
(DRAEM) with the shapes of Chen et al. 2024 (GLASS). ``scratch`` and ``stain``: what metal parts
get. ``cutpaste`` and ``cutpaste_scar``: a piece of the image pasted elsewhere, Li et al. 2021
(CutPaste). Lengths given in pixels are those in an image with a shorter side of 224; they grow and
shrink with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from flawmap.errors import OptionError
from flawmap.runtime.image_types import ImageArray, ImageU8, Mask
from flawmap.synthetic.blend import FloatImage, alpha_blend
from flawmap.synthetic.colours import (
    change_contrast,
    change_hue,
    change_tone,
    random_colours,
    to_levels,
)
from flawmap.synthetic.textures import draw_texture, length_unit, perlin_noise, stretch

_MIN_SIDE = 32
"""Pixels a side of the smallest image that is painted on."""

_MIN_CHANGE_LEVELS, _MIN_CHANGED_PIXELS = 8, 8
"""A defect can be seen if it changes so many pixels by so many grey levels or more."""

_MAX_TRIES = 20
"""A few scattered pixels of foreground may have no room for so many; then a single one will do."""


class PaintedDefect(NamedTuple):
    """An image with a painted defect.

    Args:
        pixels: RGB uint8, in the size of the good image.
        mask: True exactly where some channel differs from the good image.
        defect_type: one of `PAINTED_TYPES`.
    """

    pixels: ImageArray
    mask: Mask
    defect_type: str


def paint_defect(
    pixels: ImageArray,
    rng: Generator,
    defect_types: Sequence[str] | None = None,
    foreground: Mask | None = None,
) -> PaintedDefect:
    """A copy of an image with a painted defect, from glaring to subtle.

    The mask comes from comparing the two images. So it is exact, and where a pasted piece happens
    to be equal to what it covers it has a hole. It is never empty: a defect that cannot be seen is
    drawn again.

    Args:
        pixels: a good part, RGB uint8, 32×32 or more.
        rng: all that the defect depends on besides the image; the same state gives the same bits.
        defect_types: to draw one from, each with equal chance; None for all of `PAINTED_TYPES`.
        foreground: (height, width), True where a defect may lie; None for everywhere.

    Raises:
        OptionError: other pixels than uint8, an image too small, an unknown type or none at all, a
            foreground that is empty or of another size.

    >>> good = np.full((64, 96, 3), 150, np.uint8)
    >>> painted = paint_defect(good, np.random.default_rng(7), ["scratch"])
    >>> np.array_equal(painted.mask, (painted.pixels != good).any(axis=2))
    True
    """
    types = PAINTED_TYPES if defect_types is None else defect_types
    allowed = np.ones(pixels.shape[:2], bool) if foreground is None else foreground
    _check_image(pixels)
    _check_types(types)
    _check_foreground(allowed, pixels)
    good = np.ascontiguousarray(pixels)
    defect_type = types[int(rng.integers(len(types)))]
    # It ends: every type has some chance to reach any pixel, and to differ from it, be it black or
    # white.
    for wanted in _wanted_pixels(allowed):
        drawn = to_levels(_PAINTERS[defect_type](rng, good, allowed))
        painted = np.where(allowed[..., None], drawn, good)
        change = np.max(cv2.split(cv2.absdiff(painted, good)), axis=0)
        if np.count_nonzero(change >= _MIN_CHANGE_LEVELS) >= wanted:
            break
    return PaintedDefect(painted, change > 0, defect_type)


def _wanted_pixels(allowed: Mask) -> Iterator[int]:
    """How many visible pixels are wanted of each try."""
    yield from repeat(min(_MIN_CHANGED_PIXELS, int(np.count_nonzero(allowed))), _MAX_TRIES)
    yield from repeat(1)


def _check_image(pixels: ImageArray) -> None:
    height, width = pixels.shape[:2]
    if pixels.dtype != np.uint8 or min(height, width) < _MIN_SIDE:
        raise OptionError(
            f"cannot paint on {width}×{height} pixels of {pixels.dtype}; give uint8 (0…255), "
            f"{_MIN_SIDE}×{_MIN_SIDE} or more"
        )


def _check_types(types: Sequence[str]) -> None:
    unknown = [name for name in types if name not in PAINTED_TYPES]
    if unknown or not types:
        raise OptionError(
            f"unknown defect types: {unknown or 'none given'}; the known ones are "
            f"{', '.join(PAINTED_TYPES)}"
        )


def _check_foreground(foreground: Mask, pixels: ImageArray) -> None:
    height, width = pixels.shape[:2]
    if foreground.shape != (height, width) or not foreground.any():
        rows, columns = foreground.shape
        marked = np.count_nonzero(foreground)
        raise OptionError(
            f"the foreground is {columns}×{rows} with {marked} pixels marked; mark one pixel or "
            f"more on {width}×{height}, or give None for all"
        )


# The painters: (rng, good image, foreground) -> the image as it would be without a foreground, in
# grey levels.


def _paint_texture(rng: Generator, image: ImageU8, _: Mask) -> FloatImage:
    """A texture blended into spots: β·image + (1 − β)·texture.

    β ~ N(0.5, 0.1) within 0.2…0.8, as in GLASS. With equal chance the spots are where Perlin noise
    is above 0.5, or the union or the intersection of two such.
    """
    texture = draw_texture(rng, image)
    first = perlin_noise(rng, *image.shape[:2]) > 0.5
    second = perlin_noise(rng, *image.shape[:2]) > 0.5
    spots = (first, first | second, first & second)[rng.integers(3)]
    beta = np.clip(rng.normal(0.5, 0.1), 0.2, 0.8)
    alpha = np.asarray((1 - beta) * spots.astype(np.float32), np.float32)
    return alpha_blend(image.astype(np.float32), texture.astype(np.float32), alpha)


def _paint_scratch(rng: Generator, image: ImageU8, foreground: Mask) -> FloatImage:
    """A line, 20–120 px long, 1–3 px wide, 20–60 levels lighter or darker, uneven."""
    unit = length_unit(image)
    path = bezier_curve(rng, rng.uniform(20, 120) * unit) + _random_position(rng, foreground)
    strengths = rng.uniform(0.4, 1, 4)
    pressure = np.interp(np.arange(24), np.arange(0, 24, 6), strengths)
    thickness = max(round((1 + 2 * rng.random() ** 3) * unit), 1)  # most scratches are hairlines
    groove = np.zeros(image.shape[:2], np.uint8)
    points = np.rint(path * 16).astype(int).tolist()  # sixteenths of a pixel
    for start, end, pressed in zip(points, points[1:], pressure.tolist(), strict=False):
        cv2.line(groove, start, end, (255 * pressed,), thickness, cv2.LINE_AA, shift=4)
    relief = cv2.GaussianBlur(groove, (3, 3), rng.uniform(0.3, 0.6)).astype(np.float32)
    change = float(rng.choice((-1, 1))) * rng.uniform(20, 60) / 255 * relief
    return np.asarray(image + change[..., None], np.float32)


def _paint_stain(rng: Generator, image: ImageU8, foreground: Mask) -> FloatImage:
    """A smooth blob of radius 3–20 px, blended with a colour by 0.3–0.9."""
    height, width = image.shape[:2]
    x0, y0 = _random_position(rng, foreground)
    y, x = np.ogrid[:height, :width]
    aspect = rng.uniform(0.7, 1.4)
    radius = rng.uniform(3, 20) * length_unit(image)
    nodes = [min(math.ceil(1.4 * side / radius), 64) for side in (height, width)]
    hills = rng.standard_normal(nodes)
    distance = np.hypot((x - x0) / (radius * aspect), (y - y0) / (radius / aspect))
    blob = 1 + 0.25 * stretch(hills, height, width) - distance
    edge = np.clip(blob / rng.uniform(0.15, 0.6), 0, 1)
    body = edge * (1 - rng.uniform(0, 0.6) * np.clip(blob, 0, 1))
    alpha = np.asarray(rng.uniform(0.3, 0.9) * body, np.float32)
    return alpha_blend(image.astype(np.float32), random_colours(rng, image, 1)[0], alpha)


def _paint_cutpaste(rng: Generator, image: ImageU8, foreground: Mask) -> FloatImage:
    """A box of 0.02–0.15 of the image pasted elsewhere, with an aspect of 0.3–3.3."""
    side = math.sqrt(rng.uniform(0.02, 0.15) * foreground.size)
    # The square root of the aspect, so that flat and upright boxes are equally frequent.
    root = math.exp(rng.uniform(math.log(0.3), math.log(3.3)) / 2)
    return _paste(rng, image, foreground, (side * root, side / root), 0)


def _paint_scar(rng: Generator, image: ImageU8, foreground: Mask) -> FloatImage:
    """A strip 2–16 px wide and 10–25 px long pasted elsewhere, turned by −45°…45°."""
    unit = length_unit(image)
    size = rng.uniform(2, 16) * unit, rng.uniform(10, 25) * unit
    return _paste(rng, image, foreground, size, rng.uniform(-45, 45))


_PAINTERS: dict[str, Callable[[Generator, ImageU8, Mask], FloatImage]] = {
    "texture": _paint_texture,
    "scratch": _paint_scratch,
    "stain": _paint_stain,
    "cutpaste": _paint_cutpaste,
    "cutpaste_scar": _paint_scar,
}
PAINTED_TYPES = tuple(_PAINTERS)
"""The defect types that can be painted."""


def _random_position(rng: Generator, foreground: Mask) -> tuple[int, int]:
    """A pixel of the foreground, (x, y)."""
    y, x = divmod(int(rng.choice(np.flatnonzero(foreground))), foreground.shape[1])
    return x, y


def bezier_curve(rng: Generator, length: float) -> npt.NDArray[np.float64]:
    """A cubic Bézier curve about the origin, straight or bent, in any direction.

    Args:
        rng: all that the curve depends on besides.
        length: distance between its ends if it were straight, in pixels.

    Returns:
        25 points on it, (x, y); the middle one is the origin.

    >>> curve = bezier_curve(np.random.default_rng(0), 30)
    >>> curve.shape, curve[12].tolist()
    ((25, 2), [0.0, 0.0])
    """
    heading = rng.uniform(0, 2 * math.pi)
    t = np.linspace(0, 1, 25)[:, None]
    degree = np.arange(4)
    bend = rng.normal(0, rng.uniform(0, 0.2), 4)
    corners = length * np.stack([degree / 3, bend], axis=1)
    curve = ((1, 3, 3, 1) * t**degree * (1 - t) ** degree[::-1]) @ corners
    cos = math.cos(heading)
    sin = math.sin(heading)
    turn = [(cos, sin), (-sin, cos)]
    return np.asarray((curve - curve[12]) @ turn)


def _paste(
    rng: Generator, image: ImageU8, foreground: Mask, size: tuple[float, float], degrees: float
) -> FloatImage:
    """A box cut out, its colours jittered, turned and pasted elsewhere.

    Both positions are in the foreground if the box fits there.
    """
    frame = (image.shape[1], image.shape[0])
    wide = min(max(round(size[0]), 2), frame[0])
    high = min(max(round(size[1]), 2), frame[1])
    centres = np.array([_random_position(rng, foreground) for _ in range(2)])
    corners = np.clip(centres - (wide // 2, high // 2), 0, np.subtract(frame, (wide, high)))
    x, y = corners[0]
    piece = _jitter_colours(rng, image[y : y + high, x : x + wide])
    pose = cv2.getRotationMatrix2D(((wide - 1) / 2, (high - 1) / 2), degrees, 1)
    pose[:, 2] += corners[1]
    pasted = cv2.warpAffine(piece, pose, frame, borderMode=cv2.BORDER_REPLICATE)
    alpha = cv2.warpAffine(np.ones((high, wide), np.float32), pose, frame)
    below, above = image.astype(np.float32), np.asarray(pasted, np.float32)
    return alpha_blend(below, above, np.asarray(alpha, np.float32))


def _jitter_colours(rng: Generator, piece: ImageU8) -> ImageU8:
    changed = change_hue(rng, change_contrast(rng, piece, 0.1), 0.1)
    # Brightness as an offset, where torchvision's jitter has a factor: black would stay black.
    return change_tone(changed, 1, 255 * rng.uniform(-0.1, 0.1))
