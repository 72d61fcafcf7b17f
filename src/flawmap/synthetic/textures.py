"""Foreign textures, and shapes of Perlin noise to fill with them.

Procedural textures stand in for photographed ones (DTD), which cannot be shipped.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from flawmap.runtime.image_types import ImageOrMap, ImageU8
from flawmap.synthetic.blend import FloatImage, alpha_blend
from flawmap.synthetic.colours import (
    change_contrast,
    change_hue,
    change_tone,
    random_colours,
    to_levels,
)


def draw_texture(rng: Generator, image: ImageU8) -> ImageU8:
    """A texture of the image's size: clouds, stripes, tiles or its shuffled blocks, changed thrice.

    Args:
        rng: all that the texture depends on besides the image.
        image: what the texture's colours shall go with; it is not changed.

    >>> draw_texture(np.random.default_rng(0), np.zeros((40, 60, 3), np.uint8)).shape
    (40, 60, 3)
    """
    texture = _SOURCES[rng.integers(len(_SOURCES))](rng, image)
    for change in rng.choice(len(_CHANGES), 3, replace=False):
        texture = _CHANGES[change](rng, texture)
    return texture


def perlin_noise(rng: Generator, height: int, width: int) -> FloatImage:
    """Perlin noise with 1 to 32 cells along each axis, turned by −90°…90°.

    Perlin 2002, "Improving noise", has the fade that joins the cells.

    Args:
        rng: all that the noise depends on.
        height: in pixels.
        width: in pixels.

    Returns:
        (height, width), about −1…1.

    >>> noise = perlin_noise(np.random.default_rng(0), 64, 48)
    >>> noise.shape, bool(np.abs(noise).max() < 1.5)
    ((64, 48), True)
    """
    rows, columns = (2 ** rng.integers(0, 6, 2)).tolist()
    down, far_down = _lattice(height, rows)
    right, far_right = _lattice(width, columns)
    heading = rng.uniform(0, 2 * math.pi, (rows + 1, columns + 1))
    slope_x = np.cos(heading).astype(np.float32)
    slope_y = np.sin(heading).astype(np.float32)
    # The fade is a product of a factor per axis, so that the sum over all nodes is two matrix
    # products each.
    noise = down @ slope_x @ far_right.T + far_down @ slope_y @ right.T
    return _turn(math.sqrt(2) * noise, rng.uniform(-90, 90))


def stretch(small: npt.NDArray[np.floating], height: int, width: int) -> FloatImage:
    """An image enlarged by linear interpolation.

    Args:
        small: (rows, columns), or with channels besides.
        height: in pixels.
        width: in pixels.

    >>> stretch(np.array([[0.0, 1.0]]), 1, 4).tolist()
    [[0.0, 0.25, 0.75, 1.0]]
    """
    return np.asarray(
        cv2.resize(small.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    )


def length_unit(image: ImageU8) -> float:
    """The length of a pixel of an image with a shorter side of 224, in pixels of this one.

    Args:
        image: of any size.

    >>> length_unit(np.zeros((448, 672, 3), np.uint8))
    2.0
    """
    return float(min(image.shape[:2])) / 224


def _clouds(rng: Generator, image: ImageU8) -> ImageU8:
    colour = random_colours(rng, image, 1)[0]
    strength = rng.uniform(10, 50)
    height, width = image.shape[:2]
    octaves = [
        stretch(rng.standard_normal((nodes, nodes, 3)), height, width) for nodes in (5, 15, 45)
    ]
    return to_levels(colour + strength * sum(octaves))


def _stripes(rng: Generator, image: ImageU8) -> ImageU8:
    y, x = np.ogrid[: image.shape[0], : image.shape[1]]
    light, dark = random_colours(rng, image, 2)
    heading = rng.uniform(0, math.pi)
    period = rng.uniform(4, 40) * max(length_unit(image), 0.5)
    across = (math.cos(heading) * x + math.sin(heading) * y) * (2 * math.pi / period)
    wave = np.clip(rng.uniform(1, 5) * np.cos(across.astype(np.float32)), -1, 1)
    return to_levels(alpha_blend(light, dark, np.asarray(0.5 + 0.5 * wave, np.float32)))


def _tiles(rng: Generator, image: ImageU8) -> ImageU8:
    rows, columns = rng.integers(4, 50, 2).tolist()
    tiles = to_levels(random_colours(rng, image, rows * columns)).reshape(rows, columns, 3)
    size = image.shape[1], image.shape[0]
    return np.asarray(cv2.resize(tiles, size, interpolation=cv2.INTER_NEAREST), np.uint8)


def _shuffle_blocks(rng: Generator, image: ImageU8) -> ImageU8:
    """The image cut into 2×2 to 8×8 blocks and shuffled, half of them upside down."""
    height, width = image.shape[:2]
    cuts = int(rng.integers(2, 9))
    high, wide = height // cuts, width // cuts
    divisible = image[: high * cuts, : wide * cuts]
    grid = divisible.reshape(cuts, high, cuts, wide, 3).swapaxes(1, 2)
    blocks = rng.permutation(grid.reshape(cuts * cuts, high, wide, 3))
    blocks[::2] = blocks[::2, ::-1, ::-1].copy()
    shuffled = blocks.reshape(cuts, cuts, high, wide, 3).swapaxes(1, 2)
    joined = np.ascontiguousarray(shuffled).reshape(cuts * high, cuts * wide, 3)
    return np.asarray(cv2.resize(joined, (width, height)), np.uint8)


def _change_brightness(rng: Generator, texture: ImageU8) -> ImageU8:
    return change_tone(texture, rng.uniform(0.8, 1.2), 0)


def _mirror(_: Generator, texture: ImageU8) -> ImageU8:
    return texture[:, ::-1].copy()


def _flip(_: Generator, texture: ImageU8) -> ImageU8:
    return texture[::-1].copy()


def _to_grey(_: Generator, texture: ImageU8) -> ImageU8:
    grey = np.asarray(cv2.cvtColor(texture, cv2.COLOR_RGB2GRAY), np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _normalise(_: Generator, texture: ImageU8) -> ImageU8:
    levels = cv2.normalize(texture, texture.copy(), 0, 255, cv2.NORM_MINMAX)
    return np.asarray(levels, np.uint8)


def _equalise(_: Generator, texture: ImageU8) -> ImageU8:
    channels = cv2.split(texture)
    return np.dstack([np.asarray(cv2.equalizeHist(channel), np.uint8) for channel in channels])


def _turn_texture(rng: Generator, texture: ImageU8) -> ImageU8:
    return _turn(texture, rng.uniform(-45, 45))


_Change = Callable[[Generator, ImageU8], ImageU8]
_SOURCES: tuple[_Change, ...] = (_clouds, _stripes, _tiles, _shuffle_blocks)
_CHANGES: tuple[_Change, ...] = (
    change_contrast,
    _change_brightness,
    change_hue,
    _mirror,
    _flip,
    _to_grey,
    _normalise,
    _equalise,
    _turn_texture,
)


def _turn(image: ImageOrMap, degrees: float) -> ImageOrMap:
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    # Reflected at the frame, so that corners get no less than the middle.
    return np.asarray(cv2.warpAffine(image, turn, (width, height), borderMode=cv2.BORDER_REFLECT))


def _lattice(size: int, cells: int) -> tuple[FloatImage, FloatImage]:
    """Weight of each lattice line at each pixel, 6t⁵ − 15t⁴ + 10t³, and weight × distance.

    Both are (size, cells + 1).
    """
    centres = (np.arange(size)[:, None] + 0.5) * cells / size
    distance = (centres - np.arange(cells + 1)).astype(np.float32)
    near = np.clip(1 - np.abs(distance), 0, 1)
    fade = near**3 * (near * (6 * near - 15) + 10)
    return fade, fade * distance
