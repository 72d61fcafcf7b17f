"""The good part before the camera: how metal, paint, ink and light of a heat sink look.

`heatsink_designs.py` has the drawings of the products; `heatsink.py` takes images of the scene and
damages it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from flawmap.synthetic.blend import FloatImage, alpha_blend
from flawmap.synthetic.heatsink_designs import DESIGNS, Design, Outline, Word

HEATSINK_SIDE = 224
"""Height and width of an image, in pixels."""

_MARGIN = 16
"""Pixels drawn beyond the frame, so that a shifted part has something to show there."""

_CANVAS = HEATSINK_SIDE + 2 * _MARGIN

_SUPERSAMPLING = 4
"""A design is drawn this much larger, then averaged down."""


class Scene(NamedTuple):
    """What is before the camera, all of `HEATSINK_SIDE` squared.

    Args:
        colours: (height, width, 3), lit, in grey levels.
        part: (height, width), fraction of a pixel that is part, 0…1.
        light: (height, width), about 1.
    """

    colours: FloatImage
    part: FloatImage
    light: FloatImage


def draw_scene(rng: Generator, product: str) -> Scene:
    """A part on its table, with a grain, a pose, a print and a light of its own.

    Args:
        rng: all that the scene depends on besides the product.
        product: a name among `DESIGNS`.

    Raises:
        KeyError: there is no such product.

    >>> scene = draw_scene(np.random.default_rng(0), "Black")
    >>> scene.colours.shape, bool(0.3 < scene.part.mean() < 0.7)
    ((224, 224, 3), True)
    """
    design = DESIGNS[product]
    relief, printed = _layers(product)
    light = _light(rng, design.sheen)
    pose = _pose(rng)
    grain = _seen(_brushed(rng), pose)
    part, slope_x, slope_y, crease = np.ascontiguousarray(np.moveaxis(_seen(relief, pose), 2, 0))
    # The print sits a little differently on each part.
    shifted = pose + _shift(*rng.normal(0, 0.6, 2))
    skin = _skin(rng, design, grain, _seen(printed, shifted))
    sun = math.radians(rng.normal(-115, 8))
    facing = -math.cos(sun) * slope_x - math.sin(sun) * slope_y
    shade = light * (1 + 0.55 * np.clip(facing, -1, 0)) * (1 - 0.45 * crease)
    glint = design.gloss * np.clip(facing, 0, 1.2) ** 1.5 * light * (1 + 0.3 * grain)
    table = _table(rng, part, light)
    plate = skin * shade[..., None] + glint[..., None]
    return Scene(alpha_blend(table[..., None], plate, part), part, light)


@cache
def _layers(product: str) -> tuple[FloatImage, FloatImage]:
    """What all images of a product have in common, (canvas, canvas, 4) and (canvas, canvas, 2).

    Relief: fraction of a pixel that is part (0…1), slope to the right, slope downwards, how little
    of the sky it sees (0…1). Print: fraction of a pixel under paint and under ink (0…1).
    """
    design = DESIGNS[product]
    part = _filled([design.plate], corner=2) * (1 - _filled(design.holes, corner=1))
    height = 3.0 * _plateau(part, 3) + 1.8 * _plateau(_filled(design.raised, corner=1), 2)
    sunk = 1.6 * _plateau(_filled(design.sunk, corner=0.6), 2)
    height += 0.2 * _plateau(_filled(design.painted), 1) - sunk
    slope_x = cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=_SUPERSAMPLING / 8)
    slope_y = cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=_SUPERSAMPLING / 8)
    crease = np.clip(cv2.GaussianBlur(height, (0, 0), 3 * _SUPERSAMPLING) - height, 0, 1)
    paint = _filled(design.painted, corner=0.5)
    ink = np.maximum(_lettered(design.words), _filled(design.bars))
    return _averaged(part, slope_x, slope_y, crease), _averaged(paint, ink)


def _averaged(*layers: np.ndarray) -> FloatImage:
    stacked = np.dstack(layers)
    averaged = cv2.resize(stacked, (_CANVAS, _CANVAS), interpolation=cv2.INTER_AREA)
    return np.asarray(averaged, np.float32)


def _filled(outlines: Sequence[Outline], corner: float = 0) -> FloatImage:
    """Outlines filled with 1 on a supersampled canvas of 0; a corner has about this radius."""
    canvas = np.zeros((_CANVAS * _SUPERSAMPLING, _CANVAS * _SUPERSAMPLING), np.float32)
    for outline in outlines:
        points = np.rint((np.array(outline) + _MARGIN) * _SUPERSAMPLING).astype(np.int32)
        cv2.fillPoly(canvas, [points], (1.0,))
    if not corner:
        return canvas
    blurred = cv2.GaussianBlur(canvas, (0, 0), corner * _SUPERSAMPLING)
    return (blurred > 0.5).astype(np.float32)


def _lettered(words: Sequence[Word]) -> FloatImage:
    canvas = np.zeros((_CANVAS * _SUPERSAMPLING, _CANVAS * _SUPERSAMPLING), np.uint8)
    font = cv2.FONT_HERSHEY_SIMPLEX
    for word in words:
        # OpenCV 4 and 5 bring different fonts; fitted to a width, both stay on the part.
        (natural, _), _ = cv2.getTextSize(word.text, font, 4.0, word.stroke)
        foot = ((word.x + _MARGIN) * _SUPERSAMPLING, (word.y + _MARGIN) * _SUPERSAMPLING)
        scale = 4.0 * word.width * _SUPERSAMPLING / natural
        cv2.putText(canvas, word.text, foot, font, scale, (255,), word.stroke, cv2.LINE_AA)
    return np.asarray(canvas / 255, np.float32)


def _plateau(mask: FloatImage, bevel: float) -> FloatImage:
    """The mask raised to height 1, with sides `bevel` pixels wide."""
    inwards = cv2.distanceTransform((mask > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    height = np.clip(inwards / (bevel * _SUPERSAMPLING), 0, 1)
    return np.asarray(cv2.GaussianBlur(height, (0, 0), 0.3 * bevel * _SUPERSAMPLING), np.float32)


def _brushed(rng: Generator) -> FloatImage:
    """The grain of brushed metal, mean 0, spread about 1: grit, streaks, bands, specks of dust."""
    grit = rng.standard_normal((_CANVAS, _CANVAS), np.float32)
    short = cv2.blur(grit, (15, 1)) * 4
    long = cv2.blur(np.roll(grit, 7, axis=0), (121, 1)) * 11
    bands = cv2.blur(np.roll(grit, 31, axis=0), (161, 9)) * 38
    dust = 15 * np.clip(grit - 3.8, 0, None)
    grain = 0.45 * grit + 0.55 * short + 0.55 * long + 0.4 * bands + dust
    return np.asarray(grain, np.float32)


def _light(rng: Generator, sheen: float) -> FloatImage:
    """The light on the plate, about 1: level, gradient, a soft specular band, vignetting."""
    y, x = np.mgrid[-1:1:28j, -1:1:28j]
    even = rng.normal(1, 0.06) + rng.normal(0, 0.06) * x + rng.normal(0, 0.06) * y
    across = x + rng.normal(0, 0.2) * y - rng.uniform(-1, 1)
    strength = rng.uniform(0.1, 1) * sheen
    width = rng.uniform(0.3, 0.7)
    band = strength * np.exp(-((across / width) ** 2))
    light = (even + band) * (1 - rng.uniform(0.04, 0.10) * (x**2 + y**2))
    size = (HEATSINK_SIDE, HEATSINK_SIDE)
    return np.asarray(cv2.resize(light, size, interpolation=cv2.INTER_CUBIC), np.float32)


def _shift(x: float, y: float) -> npt.NDArray[np.float64]:
    return np.array([(0, 0, x), (0, 0, y)])


def _pose(rng: Generator) -> npt.NDArray[np.float64]:
    """A matrix from the canvas to the image, which puts the part a little off its position."""
    middle = (_CANVAS / 2, _CANVAS / 2)
    pose = cv2.getRotationMatrix2D(middle, angle=rng.normal(0, 0.4), scale=rng.normal(1, 0.004))
    return pose + _shift(*np.clip(rng.normal(0, 2, 2), -5, 5) - _MARGIN)


def _seen(layer: FloatImage, pose: npt.NDArray[np.float64]) -> FloatImage:
    return np.asarray(cv2.warpAffine(layer, pose, (HEATSINK_SIDE, HEATSINK_SIDE)), np.float32)


def _skin(rng: Generator, design: Design, grain: FloatImage, printed: FloatImage) -> FloatImage:
    """The plate's colours under even light: brushed metal, paint over it, ink over both."""
    tone = np.asarray(design.metal * rng.normal(1, 0.005, 3), np.float32)
    metal = tone * (1 + design.grain * grain[..., None])
    painted = alpha_blend(metal, design.paint, printed[..., 0] * rng.uniform(0.9, 1))
    return alpha_blend(painted, design.ink, printed[..., 1] * rng.uniform(0.85, 1))


def _table(rng: Generator, part: FloatImage, light: FloatImage) -> FloatImage:
    """The table in grey levels, with the part's shadow on it."""
    shadow = 1 - 0.6 * cv2.GaussianBlur(part, (0, 0), 5)
    noise = cv2.blur(rng.standard_normal((HEATSINK_SIDE, HEATSINK_SIDE), np.float32), (3, 3))
    return np.asarray((22 + 2 * noise) * light * shadow, np.float32)
