"""The drawings of the two heat sinks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from flawmap.synthetic.blend import Colour

Outline = Sequence[tuple[float, float]]
"""Corners (x, y) in pixels of the image; they may lie beyond its frame."""


class Word(NamedTuple):
    """Letters in ink.

    Args:
        text: in ASCII.
        x: left end of its base line, in pixels of the image.
        y: height of its base line, in pixels from the image's top.
        width: in pixels of the image.
        stroke: thickness of a line, in pixels of the supersampled drawing.
    """

    text: str
    x: int
    y: int
    width: int
    stroke: int


@dataclass(frozen=True)
class Design:
    """The drawing of a product: outlines, print, finish, and the defects it gets.

    Args:
        plate: outline of the part.
        holes: outlines of what is cut out of it.
        raised: outlines of what is higher than the plate.
        sunk: outlines of what is lower than the plate.
        painted: outlines of what is painted.
        bars: outlines of what is in ink, like the words.
        words: what is printed.
        metal: colour of the bare plate.
        paint: colour of what is painted.
        ink: colour of words and bars.
        grain: strength of the brushing, as a fraction of the metal's level.
        sheen: fraction of the light that the brightest specular band adds.
        gloss: grey levels that a bevel gains where it faces the light.
        defects: percent of the defective parts, by defect type; 100 together.
    """

    plate: Outline
    holes: Sequence[Outline]
    raised: Sequence[Outline]
    sunk: Sequence[Outline]
    painted: Sequence[Outline]
    bars: Sequence[Outline]
    words: Sequence[Word]
    metal: Colour
    paint: Colour
    ink: Colour
    grain: float
    sheen: float
    gloss: float
    defects: Mapping[str, int]


def _box(x: float, y: float, width: float, height: float, slant: float = 0) -> Outline:
    return ((x + slant, y), (x + slant + width, y), (x + width, y + height), (x, y + height))


def _disc(x: float, y: float, radius: float) -> Outline:
    angles = np.linspace(0, 2 * math.pi, 48)
    return [(x + radius * math.cos(t), y + radius * math.sin(t)) for t in angles]


# fmt: off
_BLACK = Design(
    plate=((20, 62), (34, 44), (50, 44), (62, 26), (260, 26), (260, 192), (112, 192), (104, 184),
           (64, 184), (56, 192), (20, 192)),
    holes=[*(_box(x, 14, 7, 26) for x in range(82, 260, 24)), _disc(38, 172, 5)],
    raised=[_box(52, 78, 260, 74, slant=14), _disc(38, 172, 9)],
    sunk=[_box(70, 52, 200, 4), _box(60, 62, 210, 4), _box(70, 164, 200, 4)],
    painted=[_box(70, 92, 7, 46, slant=9), _box(82, 92, 3, 46, slant=9)],
    bars=[],
    words=[Word("VOLTREX", 101, 120, 100, 8), Word("DDR4-3200 CL16", 102, 137, 76, 3)],
    metal=(54, 54, 57),
    paint=(142, 34, 32),
    ink=(172, 173, 175),
    grain=0.07,
    sheen=0.5,
    gloss=85,
    defects={"stain": 50, "foreign_colour": 30, "scratch": 20},
)
_WHITE = Design(
    plate=((-40, 30), (150, 30), (164, 42), (190, 42), (206, 60), (206, 176), (196, 188),
           (-40, 188)),
    holes=[*(_box(x, 66, 6, 34, slant=10) for x in (150, 164, 178)), _disc(188, 164, 6)],
    raised=[_disc(188, 164, 10)],
    sunk=[_box(-40, 46, 176, 5), _box(-40, 170, 160, 4),
          *(_box(x, 122, 4, 44, slant=12) for x in (136, 150, 164))],
    painted=[_box(10, 66, 112, 88)],
    bars=[_box(20 + x, 128, 1 + x % 4, 18) for x in range(0, 92, 5)],
    words=[Word("ARCTIQ", 19, 88, 62, 6), Word("16GB 2Rx8 PC4-25600", 19, 104, 92, 3),
           Word("S/N 4471-09A", 19, 118, 54, 2)],
    metal=(180, 182, 184),
    paint=(212, 212, 207),
    ink=(62, 62, 66),
    grain=0.018,
    sheen=0.2,
    gloss=50,
    defects={"scratch": 75, "stain": 25},
)
# fmt: on

DESIGNS = {"Black": _BLACK, "White": _WHITE}
"""The products by name."""
