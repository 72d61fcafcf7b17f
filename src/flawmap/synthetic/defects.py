"""Paints defects on images of good parts.

Something to tell good parts from, where no defective part was ever seen.

Five kinds. ``texture``: Perlin-shaped spots of a foreign texture, as in Zavrtanik et al. 2021
(DRAEM) with the shapes of Chen et al. 2024 (GLASS); procedural textures stand in for the
photographed ones (DTD), which cannot be shipped. ``scratch`` and ``stain``: what metal parts get.
``cutpaste`` and ``cutpaste_scar``: a piece of the image pasted elsewhere, Li et al. 2021
(CutPaste). Lengths given in pixels are those in an image with a shorter side of 224; they grow and
shrink with it.

>>> good = np.full((64, 96, 3), 150, np.uint8)
>>> painted = paint(good, np.random.default_rng(7), kinds=["scratch"])
>>> np.array_equal(painted.mask, (painted.pixels != good).any(axis=2))
True
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import chain, repeat
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from flawmap.errors import OptionError
from flawmap.runtime.preprocess import ImageArray, ImageOrMap, Mask
from flawmap.synthetic.blend import alpha_blend

ImageU8 = npt.NDArray[np.uint8]  # height × width × 3, RGB
FloatImage = npt.NDArray[np.float32]  # height × width, × 3 if it has colours in grey levels
Place = tuple[int, int]  # x, y

MIN_PAINT_SIDE = 32  # pixels a side
MIN_CHANGE_LEVELS = 8  # grey levels that a defect changes a pixel by
MIN_CHANGED_PIXELS = 8  # pixels that a defect changes visibly
MAX_TRIES = 20  # a few scattered pixels of foreground may have no room for ENOUGH; then one will do


class PaintedDefect(NamedTuple):
    """An image with a painted defect."""

    pixels: ImageArray  # RGB uint8, the size of the image that came
    mask: Mask  # True exactly where some channel differs from the image that came
    defect_type: str


def _unit(pixels: ImageU8) -> float:
    """Say how long one pixel of an image of 224×224 is here."""
    return float(min(pixels.shape[:2])) / 224


def _somewhere(rng: Generator, foreground: Mask) -> Place:
    y, x = divmod(int(rng.choice(np.flatnonzero(foreground))), foreground.shape[1])
    return x, y


def _levels(colours: npt.NDArray[np.floating]) -> ImageU8:
    return np.asarray(np.clip(np.rint(colours), 0, 255), np.uint8)


def _stretched(small: npt.NDArray[np.floating], height: int, width: int) -> FloatImage:
    return np.asarray(
        cv2.resize(small.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    )


def _colours(rng: Generator, pixels: ImageU8, count: int) -> FloatImage:
    """Random colours, all of them paler or stronger, towards the image's mean or away."""
    mean, strong = cv2.mean(pixels)[:3], rng.uniform(0, 255, (count, 3))
    free = strong + rng.uniform(0, 1) * (strong.mean(axis=1, keepdims=True) - strong)
    return np.asarray(mean + rng.uniform(0.1, 1) * (free - mean), np.float32)


# Textures of an image's size, and ways to change them.


def _clouds(rng: Generator, pixels: ImageU8) -> ImageU8:
    octaves = (_stretched(rng.standard_normal((n, n, 3)), *pixels.shape[:2]) for n in (5, 15, 45))
    return _levels(_colours(rng, pixels, 1)[0] + rng.uniform(10, 50) * sum(octaves))


def _stripes(rng: Generator, pixels: ImageU8) -> ImageU8:
    y, x = np.ogrid[: pixels.shape[0], : pixels.shape[1]]
    one, other = _colours(rng, pixels, 2)
    heading, period = rng.uniform(0, math.pi), rng.uniform(4, 40) * max(_unit(pixels), 0.5)
    across = ((math.cos(heading) * x + math.sin(heading) * y) * (2 * math.pi / period)).astype(
        np.float32
    )
    wave = np.clip(rng.uniform(1, 5) * np.cos(across), -1, 1)
    return _levels(alpha_blend(one, other, np.asarray(0.5 + 0.5 * wave, np.float32)))


def _tiles(rng: Generator, pixels: ImageU8) -> ImageU8:
    rows, columns = rng.integers(4, 50, 2).tolist()
    tiles = _levels(_colours(rng, pixels, rows * columns)).reshape(rows, columns, 3)
    return np.asarray(
        cv2.resize(tiles, (pixels.shape[1], pixels.shape[0]), interpolation=cv2.INTER_NEAREST),
        np.uint8,
    )


def _shuffled(rng: Generator, pixels: ImageU8) -> ImageU8:
    """Cut the image into 2×2 to 8×8 blocks and shuffle them, half of them upside down."""
    (height, width), cuts = pixels.shape[:2], int(rng.integers(2, 9))
    high, wide = height // cuts, width // cuts
    grid = pixels[: high * cuts, : wide * cuts].reshape(cuts, high, cuts, wide, 3).swapaxes(1, 2)
    blocks = rng.permutation(grid.reshape(cuts * cuts, high, wide, 3))
    blocks[::2] = blocks[::2, ::-1, ::-1].copy()
    shuffled = blocks.reshape(cuts, cuts, high, wide, 3).swapaxes(1, 2)
    whole = np.ascontiguousarray(shuffled).reshape(cuts * high, cuts * wide, 3)
    return np.asarray(cv2.resize(whole, (width, height)), np.uint8)


def _turned(plane: ImageOrMap, degrees: float) -> ImageOrMap:
    height, width = plane.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    # Reflected at the frame, so that corners get no less than the middle.
    return np.asarray(cv2.warpAffine(plane, turn, (width, height), borderMode=cv2.BORDER_REFLECT))


def _toned(image: ImageU8, gain: float, offset: float) -> ImageU8:
    return np.asarray(cv2.LUT(image, _levels(np.arange(256) * gain + offset)), np.uint8)


def _contrast(rng: Generator, image: ImageU8, most: float = 0.2) -> ImageU8:
    gain = 1 + rng.uniform(-most, most)
    return _toned(image, gain, (1 - gain) * float(np.mean(cv2.mean(image)[:3])))


def _hue(rng: Generator, image: ImageU8, most: float = 0.2) -> ImageU8:
    """Change hue, by a share of the circle, and saturation, by a share of itself."""
    steps, turn = (
        np.arange(256),
        round(180 * rng.uniform(-most, most)),
    )  # OpenCV's circle has 180 steps
    curves = np.stack([(steps + turn) % 180, steps * (1 + rng.uniform(-most, most)), steps], axis=1)
    hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), _levels(curves)[None])
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)


_SOURCES = (_clouds, _stripes, _tiles, _shuffled)
_CHANGES: tuple[Callable[[Generator, ImageU8], ImageU8], ...] = (
    _contrast,
    lambda rng, texture: _toned(texture, rng.uniform(0.8, 1.2), 0),
    _hue,
    lambda _, texture: texture[:, ::-1].copy(),
    lambda _, texture: texture[::-1].copy(),
    lambda _, texture: np.repeat(
        np.asarray(cv2.cvtColor(texture, cv2.COLOR_RGB2GRAY), np.uint8)[..., None], 3, axis=2
    ),
    lambda _, texture: np.asarray(
        cv2.normalize(texture, texture.copy(), 0, 255, cv2.NORM_MINMAX), np.uint8
    ),
    lambda _, texture: np.dstack(
        [np.asarray(cv2.equalizeHist(channel), np.uint8) for channel in cv2.split(texture)]
    ),
    lambda rng, texture: _turned(texture, rng.uniform(-45, 45)),
)


def _lattice(size: int, cells: int) -> tuple[FloatImage, FloatImage]:
    """Weigh lattice lines at each pixel by Perlin's fade 6t⁵ − 15t⁴ + 10t³, and × distance.

    Size × (cells + 1).
    """
    away = ((np.arange(size)[:, None] + 0.5) * cells / size - np.arange(cells + 1)).astype(
        np.float32
    )
    near = np.clip(1 - np.abs(away), 0, 1)
    fade = near**3 * (near * (6 * near - 15) + 10)
    return fade, fade * away


def _perlin(rng: Generator, height: int, width: int) -> FloatImage:
    """Draw Perlin noise, about −1..1, with 1 to 32 cells along each axis, turned by −90°..90°."""
    rows, columns = (2 ** rng.integers(0, 6, 2)).tolist()
    (down, far_down), (right, far_right) = _lattice(height, rows), _lattice(width, columns)
    heading = rng.uniform(0, 2 * math.pi, (rows + 1, columns + 1))
    slope_x, slope_y = np.cos(heading).astype(np.float32), np.sin(heading).astype(np.float32)
    # The fade is a product of one factor per axis, so that the sum over all nodes is two matrix
    # products each.
    noise = down @ slope_x @ far_right.T + far_down @ slope_y @ right.T
    return _turned(math.sqrt(2) * noise, rng.uniform(-90, 90))


# The kinds: (rng, good image, foreground) -> the image as it would be without a foreground, in grey
# levels.


def _texture(rng: Generator, pixels: ImageU8, _: Mask) -> FloatImage:
    """Blend a texture into spots.

    There x′ = β·x + (1 − β)·texture, β ~ N(0.5, 0.1) within 0.2..0.8, as in GLASS.

    With equal chance the spots are where Perlin noise is above 0.5, or the union or the
    intersection of two such.
    """
    texture = _SOURCES[rng.integers(len(_SOURCES))](rng, pixels)
    for change in rng.choice(len(_CHANGES), 3, replace=False):
        texture = _CHANGES[change](rng, texture)
    one, other = (_perlin(rng, *pixels.shape[:2]) > 0.5 for _ in range(2))
    spots = (one, one | other, one & other)[rng.integers(3)]
    share = (1 - np.clip(rng.normal(0.5, 0.1), 0.2, 0.8)) * spots.astype(np.float32)
    return alpha_blend(
        pixels.astype(np.float32), texture.astype(np.float32), np.asarray(share, np.float32)
    )


def _curve(rng: Generator, length: float) -> npt.NDArray[np.float64]:
    """Draw a cubic Bézier curve about the origin, straight or bent, in any direction.

    25 points × (x, y).
    """
    heading, t, degree = rng.uniform(0, 2 * math.pi), np.linspace(0, 1, 25)[:, None], np.arange(4)
    corners = length * np.stack([degree / 3, rng.normal(0, rng.uniform(0, 0.2), 4)], axis=1)
    curve = ((1, 3, 3, 1) * t**degree * (1 - t) ** degree[::-1]) @ corners
    turn = [(math.cos(heading), math.sin(heading)), (-math.sin(heading), math.cos(heading))]
    return np.asarray((curve - curve[12]) @ turn)


def _scratch(rng: Generator, pixels: ImageU8, foreground: Mask) -> FloatImage:
    """A line, 20–120 px long, 1–3 px wide, 20–60 levels lighter or darker, uneven."""
    unit = _unit(pixels)
    path = _curve(rng, rng.uniform(20, 120) * unit) + _somewhere(rng, foreground)
    press = np.interp(np.arange(24), np.arange(0, 24, 6), rng.uniform(0.4, 1, 4))
    thick = max(round((1 + 2 * rng.random() ** 3) * unit), 1)  # most scratches are hairlines
    groove = np.zeros(pixels.shape[:2], np.uint8)
    points = np.rint(path * 16).astype(int).tolist()  # sixteenths of a pixel
    for start, end, pressed in zip(points, points[1:], press.tolist(), strict=False):
        cv2.line(groove, start, end, (255 * pressed,), thick, cv2.LINE_AA, shift=4)
    relief = cv2.GaussianBlur(groove, (3, 3), rng.uniform(0.3, 0.6)).astype(np.float32)
    return pixels + (float(rng.choice((-1, 1))) * rng.uniform(20, 60) / 255 * relief)[..., None]


def _stain(rng: Generator, pixels: ImageU8, foreground: Mask) -> FloatImage:
    """A smooth blob of radius 3–20 px, blended with a colour by 0.3–0.9."""
    (height, width), (x0, y0) = pixels.shape[:2], _somewhere(rng, foreground)
    (y, x), stretch, radius = (
        np.ogrid[:height, :width],
        rng.uniform(0.7, 1.4),
        rng.uniform(3, 20) * _unit(pixels),
    )
    hills = rng.standard_normal(
        [min(math.ceil(1.4 * side / radius), 64) for side in (height, width)]
    )
    away = np.hypot((x - x0) / (radius * stretch), (y - y0) / (radius / stretch))
    blob = 1 + 0.25 * _stretched(hills, height, width) - away
    body = np.clip(blob / rng.uniform(0.15, 0.6), 0, 1) * (
        1 - rng.uniform(0, 0.6) * np.clip(blob, 0, 1)
    )
    share = np.asarray(rng.uniform(0.3, 0.9) * body, np.float32)
    return alpha_blend(pixels.astype(np.float32), _colours(rng, pixels, 1)[0], share)


def _jittered(rng: Generator, piece: ImageU8) -> ImageU8:
    # Brightness as an offset, where torchvision's jitter has a factor: black would stay black.
    return _toned(_hue(rng, _contrast(rng, piece, 0.1), 0.1), 1, 255 * rng.uniform(-0.1, 0.1))


def _pasted(
    rng: Generator, pixels: ImageU8, foreground: Mask, size: tuple[float, float], degrees: float
) -> FloatImage:
    """Cut out a box, jitter its colours, turn it, paste it elsewhere.

    Both places in the foreground if they fit.
    """
    frame = (pixels.shape[1], pixels.shape[0])
    wide, high = (min(max(round(side), 2), most) for side, most in zip(size, frame, strict=True))
    middles = np.array([_somewhere(rng, foreground) for _ in range(2)])
    (x, y), to = np.clip(middles - (wide // 2, high // 2), 0, np.subtract(frame, (wide, high)))
    piece = _jittered(rng, pixels[y : y + high, x : x + wide])
    pose = cv2.getRotationMatrix2D(((wide - 1) / 2, (high - 1) / 2), degrees, 1)
    pose[:, 2] += to
    strip = cv2.warpAffine(piece, pose, frame, borderMode=cv2.BORDER_REPLICATE)
    share = cv2.warpAffine(np.ones((high, wide), np.float32), pose, frame)
    return alpha_blend(
        pixels.astype(np.float32), np.asarray(strip, np.float32), np.asarray(share, np.float32)
    )


def _cutpaste(rng: Generator, pixels: ImageU8, foreground: Mask) -> FloatImage:
    """Paste a box of 0.02–0.15 of the image, with an aspect of 0.3–3.3."""
    side = math.sqrt(rng.uniform(0.02, 0.15) * foreground.size)
    root = math.exp(
        rng.uniform(math.log(0.3), math.log(3.3)) / 2
    )  # of the aspect; flat and upright alike
    return _pasted(rng, pixels, foreground, (side * root, side / root), 0)


def _scar(rng: Generator, pixels: ImageU8, foreground: Mask) -> FloatImage:
    """Paste a strip 2–16 px wide and 10–25 px long, turned by −45°..45°."""
    size = rng.uniform(2, 16) * _unit(pixels), rng.uniform(10, 25) * _unit(pixels)
    return _pasted(rng, pixels, foreground, size, rng.uniform(-45, 45))


_PAINTERS: dict[str, Callable[[Generator, ImageU8, Mask], FloatImage]] = {
    "texture": _texture,
    "scratch": _scratch,
    "stain": _stain,
    "cutpaste": _cutpaste,
    "cutpaste_scar": _scar,
}
PAINTED_TYPES = tuple(_PAINTERS)


def _check(pixels: ImageArray, kinds: Sequence[str], foreground: Mask) -> None:
    height, width = pixels.shape[:2]
    if pixels.dtype != np.uint8 or min(height, width) < MIN_PAINT_SIDE:
        came = f"{width}×{height} pixels of {pixels.dtype}"
        raise OptionError(
            f"cannot paint on {came}; give uint8 (0…255), {MIN_PAINT_SIDE}×{MIN_PAINT_SIDE} or more"
        )
    unknown = [defect_type for defect_type in kinds if defect_type not in PAINTED_TYPES]
    if unknown or not kinds:
        raise OptionError(
            f"unknown kinds of defect: {unknown or 'none given'}; the known ones are "
            f"{', '.join(PAINTED_TYPES)}"
        )
    if foreground.shape != (height, width) or not foreground.any():
        came = (
            f"{foreground.shape[1]}×{foreground.shape[0]} with {np.count_nonzero(foreground)} "
            "pixels marked"
        )
        raise OptionError(
            f"the foreground is {came}; mark one pixel or more on {width}×{height}, or give None "
            f"for all"
        )


def paint_defect(
    pixels: ImageArray,
    rng: Generator,
    kinds: Sequence[str] = PAINTED_TYPES,
    foreground: Mask | None = None,
) -> PaintedDefect:
    """Paint one defect, from glaring to subtle, on a copy of the image.

    The mask comes from comparing the two images. So it is exact, and where a pasted piece happens
    to be equal to what it covers it has a hole. It is never empty: a defect that cannot be seen is
    drawn again.

    Args:
        pixels: a good part, RGB uint8, 32×32 or more.
        rng: all that the defect depends on besides the image; the same state gives the same bits.
        kinds: which kinds to draw one from, each with equal chance.
        foreground: True where a defect may lie; None for everywhere.

    Raises:
        OptionError: other pixels than uint8, an image too small, an unknown kind or none at all, a
            foreground that is empty or of another size.
    """
    where = np.ones(pixels.shape[:2], bool) if foreground is None else foreground
    _check(pixels, kinds, where)
    good, defect_type = np.ascontiguousarray(pixels), kinds[int(rng.integers(len(kinds)))]
    # It ends: every kind has some chance to reach any one pixel, and to differ from it, be it black
    # or white.
    for enough in chain(
        repeat(min(MIN_CHANGED_PIXELS, int(np.count_nonzero(where))), MAX_TRIES), repeat(1)
    ):
        painted = np.where(
            where[..., None], _levels(_PAINTERS[defect_type](rng, good, where)), good
        )
        change = np.max(cv2.split(cv2.absdiff(painted, good)), axis=0)
        if np.count_nonzero(change >= MIN_CHANGE_LEVELS) >= enough:
            break
    return PaintedDefect(painted, change > 0, defect_type)
