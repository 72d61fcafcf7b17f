"""The good part before the camera.

The drawings of the two heat sinks, and how metal, paint, ink and light look.

`heatsink.py` takes images of it and damages it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from flawmap.synthetic.blend import Colour, FloatImage, alpha_blend

Points = Sequence[tuple[float, float]]  # x, y in pixels of the image

HEATSINK_SIDE = 224
SCENE_MARGIN = 16  # drawn beyond the frame, so that a shifted part has something to show there
CANVAS = HEATSINK_SIDE + 2 * SCENE_MARGIN
SUPERSAMPLING = 4  # a design is drawn this much larger, then averaged down


@dataclass(frozen=True)
class Design:
    """The drawing of one product: outlines, print, finish, and the defects it gets."""

    plate: Points
    holes: Sequence[Points]
    raised: Sequence[Points]
    sunk: Sequence[Points]
    painted: Sequence[Points]
    bars: Sequence[Points]  # in ink, like the words
    words: Sequence[
        tuple[str, int, int, int, int]
    ]  # text, x and y of its foot, width, thickness of a stroke
    metal: Colour
    paint: Colour
    ink: Colour
    grain: float  # share of the metal's level
    sheen: float  # share that the brightest specular band adds
    gloss: float  # grey levels that a bevel gains where it faces the light
    defects: Mapping[str, int]  # kind -> percent


def _box(x: float, y: float, width: float, height: float, slant: float = 0) -> Points:
    return ((x + slant, y), (x + slant + width, y), (x + width, y + height), (x, y + height))


def _disc(x: float, y: float, radius: float) -> Points:
    return [
        (x + radius * math.cos(t), y + radius * math.sin(t))
        for t in np.linspace(0, 2 * math.pi, 48)
    ]


# fmt: off
DESIGNS = {
    "Black": Design(
        plate=((20, 62), (34, 44), (50, 44), (62, 26), (260, 26), (260, 192), (112, 192), (104,
            184), (64, 184),
               (56, 192), (20, 192)),
        holes=(*(_box(x, 14, 7, 26) for x in range(82, 260, 24)), _disc(38, 172, 5)),
        raised=(_box(52, 78, 260, 74, slant=14), _disc(38, 172, 9)),
        sunk=(_box(70, 52, 200, 4), _box(60, 62, 210, 4), _box(70, 164, 200, 4)),
        painted=(_box(70, 92, 7, 46, slant=9), _box(82, 92, 3, 46, slant=9)), bars=(),
        words=(("VOLTREX", 101, 120, 100, 8), ("DDR4-3200 CL16", 102, 137, 76, 3)),
        metal=(54, 54, 57), paint=(142, 34, 32), ink=(172, 173, 175), grain=0.07, sheen=0.5,
        gloss=85,
        defects={"stain": 50, "foreign_colour": 30, "scratch": 20},
    ),
    "White": Design(
        plate=((-40, 30), (150, 30), (164, 42), (190, 42), (206, 60), (206, 176), (196, 188),
            (-40, 188)),
        holes=(*(_box(x, 66, 6, 34, slant=10) for x in (150, 164, 178)), _disc(188, 164, 6)),
        raised=(_disc(188, 164, 10),),
        sunk=(_box(-40, 46, 176, 5), _box(-40, 170, 160, 4), *(_box(x, 122, 4, 44,
            slant=12) for x in (136, 150, 164))),
        painted=(_box(10, 66, 112, 88),), bars=[_box(20 + x, 128, 1 + x % 4, 18) for x in range(0,
            92, 5)],
        words=(("ARCTIQ", 19, 88, 62, 6), ("16GB 2Rx8 PC4-25600", 19, 104, 92, 3),
            ("S/N 4471-09A", 19, 118, 54, 2)),
        metal=(180, 182, 184), paint=(212, 212, 207), ink=(62, 62, 66), grain=0.018, sheen=0.2,
        gloss=50,
        defects={"scratch": 75, "stain": 25},
    ),
}
# fmt: on


def _filled(outlines: Sequence[Points], corner: float = 0) -> FloatImage:
    """Fill outlines with 1 on a canvas of 0, FINE times as large.

    `corner` is about the radius of a corner.
    """
    canvas = np.zeros((CANVAS * SUPERSAMPLING, CANVAS * SUPERSAMPLING), np.float32)
    for outline in outlines:
        cv2.fillPoly(
            canvas,
            [np.rint((np.array(outline) + SCENE_MARGIN) * SUPERSAMPLING).astype(np.int32)],
            (1.0,),
        )
    return (
        (cv2.GaussianBlur(canvas, (0, 0), corner * SUPERSAMPLING) > 0.5).astype(np.float32)
        if corner
        else canvas
    )


def _lettered(words: Sequence[tuple[str, int, int, int, int]]) -> FloatImage:
    canvas = np.zeros((CANVAS * SUPERSAMPLING, CANVAS * SUPERSAMPLING), np.uint8)
    for text, x, y, width, stroke in words:
        # OpenCV 4 and 5 bring different fonts; fitted to a width, both stay on the part.
        (natural, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 4.0, stroke)
        foot, scale = (
            ((x + SCENE_MARGIN) * SUPERSAMPLING, (y + SCENE_MARGIN) * SUPERSAMPLING),
            4.0 * width * SUPERSAMPLING / natural,
        )
        cv2.putText(
            canvas, text, foot, cv2.FONT_HERSHEY_SIMPLEX, scale, (255,), stroke, cv2.LINE_AA
        )
    return np.asarray(canvas / 255, np.float32)


def _plateau(mask: FloatImage, bevel: float) -> FloatImage:
    """Raise the mask to height 1, with sides `bevel` pixels wide."""
    inwards = cv2.distanceTransform((mask > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    return np.asarray(
        cv2.GaussianBlur(
            np.clip(inwards / (bevel * SUPERSAMPLING), 0, 1), (0, 0), 0.3 * bevel * SUPERSAMPLING
        ),
        np.float32,
    )


@cache
def _layers(product: str) -> tuple[FloatImage, FloatImage]:
    """Turn a design into what all images of the product share, CANVAS × CANVAS × 4 and × 2.

    Relief: share of a pixel that is part (0..1), slope to the right, slope downwards, how little of
        the sky it sees (0..1). Print: share of a pixel under paint and under ink (0..1).
    """
    design = DESIGNS[product]
    part = _filled([design.plate], corner=2) * (1 - _filled(design.holes, corner=1))
    height = 3.0 * _plateau(part, 3) + 1.8 * _plateau(_filled(design.raised, corner=1), 2)
    height += 0.2 * _plateau(_filled(design.painted), 1) - 1.6 * _plateau(
        _filled(design.sunk, corner=0.6), 2
    )
    slopes = (cv2.Sobel(height, cv2.CV_32F, dx, 1 - dx, scale=SUPERSAMPLING / 8) for dx in (1, 0))
    crease = np.clip(cv2.GaussianBlur(height, (0, 0), 3 * SUPERSAMPLING) - height, 0, 1)
    ink = np.maximum(_lettered(design.words), _filled(design.bars))
    stacks = (part, *slopes, crease), (_filled(design.painted, corner=0.5), ink)
    relief, printed = (
        cv2.resize(np.dstack(s), (CANVAS, CANVAS), interpolation=cv2.INTER_AREA) for s in stacks
    )
    return np.asarray(relief, np.float32), np.asarray(printed, np.float32)


def _brushed(rng: Generator) -> FloatImage:
    """Draw the grain of brushed metal, mean 0, spread about 1.

    Grit, streaks, uneven bands, a few specks of dust.
    """
    grit = rng.standard_normal((CANVAS, CANVAS), np.float32)
    short, long = cv2.blur(grit, (15, 1)) * 4, cv2.blur(np.roll(grit, 7, axis=0), (121, 1)) * 11
    bands = cv2.blur(np.roll(grit, 31, axis=0), (161, 9)) * 38
    grain = (
        0.45 * grit + 0.55 * short + 0.55 * long + 0.4 * bands + 15 * np.clip(grit - 3.8, 0, None)
    )
    return np.asarray(grain, np.float32)


def _light(rng: Generator, sheen: float) -> FloatImage:
    """Light the plate, about 1.

    Level, gradient, a soft specular band across the grain, vignetting.
    """
    y, x = np.mgrid[-1:1:28j, -1:1:28j]
    even = rng.normal(1, 0.06) + rng.normal(0, 0.06) * x + rng.normal(0, 0.06) * y
    across = x + rng.normal(0, 0.2) * y - rng.uniform(-1, 1)
    band = rng.uniform(0.1, 1) * sheen * np.exp(-((across / rng.uniform(0.3, 0.7)) ** 2))
    light = (even + band) * (1 - rng.uniform(0.04, 0.10) * (x**2 + y**2))
    return np.asarray(
        cv2.resize(light, (HEATSINK_SIDE, HEATSINK_SIDE), interpolation=cv2.INTER_CUBIC), np.float32
    )


def _shift(x: float, y: float) -> npt.NDArray[np.float64]:
    return np.array([(0, 0, x), (0, 0, y)])


def _pose(rng: Generator) -> npt.NDArray[np.float64]:
    """Put the part before the camera, a little off its place.

    A matrix from the canvas to the image.
    """
    middle = (CANVAS / 2, CANVAS / 2)
    pose = cv2.getRotationMatrix2D(middle, angle=rng.normal(0, 0.4), scale=rng.normal(1, 0.004))
    return pose + _shift(*np.clip(rng.normal(0, 2, 2), -5, 5) - SCENE_MARGIN)


def _seen(layer: FloatImage, pose: npt.NDArray[np.float64]) -> FloatImage:
    return np.asarray(cv2.warpAffine(layer, pose, (HEATSINK_SIDE, HEATSINK_SIDE)), np.float32)


class Scene(NamedTuple):
    """What is before the camera, SIDE × SIDE."""

    colours: FloatImage  # lit, in grey levels, × 3
    part: FloatImage  # share of a pixel that is part, 0..1
    light: FloatImage  # about 1


def _skin(rng: Generator, design: Design, grain: FloatImage, printed: FloatImage) -> FloatImage:
    """Colour the plate as under even light: brushed metal, paint over it, ink over both."""
    tone = np.asarray(design.metal * rng.normal(1, 0.005, 3), np.float32)
    painted = alpha_blend(
        tone * (1 + design.grain * grain[..., None]),
        design.paint,
        printed[..., 0] * rng.uniform(0.9, 1),
    )
    return alpha_blend(painted, design.ink, printed[..., 1] * rng.uniform(0.85, 1))


def draw_scene(rng: Generator, product: str) -> Scene:
    """Draw one part on its table, with a grain, a pose, a print and a light of its own."""
    design, (relief, printed) = DESIGNS[product], _layers(product)
    light, pose = _light(rng, design.sheen), _pose(rng)
    grain = _seen(_brushed(rng), pose)
    part, slope_x, slope_y, crease = np.ascontiguousarray(np.moveaxis(_seen(relief, pose), 2, 0))
    # The print sits a little differently on each part.
    skin = _skin(rng, design, grain, _seen(printed, pose + _shift(*rng.normal(0, 0.6, 2))))
    sun = math.radians(rng.normal(-115, 8))
    facing = -math.cos(sun) * slope_x - math.sin(sun) * slope_y
    shade = light * (1 + 0.55 * np.clip(facing, -1, 0)) * (1 - 0.45 * crease)
    glint = design.gloss * np.clip(facing, 0, 1.2) ** 1.5 * light * (1 + 0.3 * grain)
    shadow = 1 - 0.6 * cv2.GaussianBlur(part, (0, 0), 5)
    table = (
        (22 + 2 * cv2.blur(rng.standard_normal((HEATSINK_SIDE, HEATSINK_SIDE), np.float32), (3, 3)))
        * light
        * shadow
    )
    plate = skin * shade[..., None] + glint[..., None]
    return Scene(alpha_blend(table[..., None], plate, part), part, light)
