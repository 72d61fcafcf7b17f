"""What spoils a heat sink: stains, foreign colour and scratches."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from flawmap.synthetic.blend import FloatImage, alpha_blend
from flawmap.synthetic.heatsink_scene import HEATSINK_SIDE, Scene

_LIQUIDS = (
    (128, 116, 92),
    (96, 104, 120),
    (140, 138, 132),
    (84, 52, 22),
    (14, 13, 12),
)
"""Colours that dried liquids have, RGB under a light of 1."""


def _stain(rng: Generator, scene: Scene, severity: float) -> FloatImage:
    """A dried liquid: a mottled film, often with the dark rim of a coffee ring."""
    radius = rng.uniform(4, 20)
    aspect = rng.choice((1.0, 1.3, 2.2))
    blob = _blob(rng, scene.part, radius, aspect)
    inside = np.clip(blob, 0, 1)
    density = rng.uniform(0.6, 1) * np.clip(blob / rng.uniform(0.2, 0.9), 0, 1)
    body = density * (1 - 0.15 * np.abs(_clouds(rng, 40)))
    rim = rng.uniform(0, 1) * np.clip(blob / 0.12, 0, 1)
    ring = rim * np.exp(-inside / rng.uniform(0.08, 0.25))
    alpha = severity * rng.uniform(0.5, 0.9) * np.clip(body + ring, 0, 1) * scene.part
    film = rng.choice(_LIQUIDS) * scene.light[..., None]
    grain = scene.colours - cv2.blur(scene.colours, (13, 13))
    return alpha_blend(scene.colours, film + 0.6 * grain, alpha)


def _foreign_colour(rng: Generator, scene: Scene, severity: float) -> FloatImage:
    """A tinted patch, through which the grain still shows."""
    blob = _blob(rng, scene.part, rng.uniform(6, 24), rng.uniform(1, 1.8))
    phase = rng.uniform(0, 2 * math.pi)
    hue = np.cos(phase + np.array([0, 2, 4]) * math.pi / 3)
    tint = np.asarray(rng.uniform(0.9, 1.25) + 0.4 * hue, np.float32)
    alpha = severity * np.clip(blob / rng.uniform(0.15, 1), 0, 1) * scene.part
    return alpha_blend(scene.colours, scene.colours * tint, alpha)


def _scratch(rng: Generator, scene: Scene, severity: float) -> FloatImage:
    """One to three parallel hairlines, uneven, with a burr that reflects on one side."""
    heading = rng.uniform(0, math.pi)
    half_length = rng.uniform(10, 60)
    lines = int(rng.choice((1, 1, 2, 2, 3)))
    along = np.array([math.cos(heading), math.sin(heading)])
    aside = np.array([-math.sin(heading), math.cos(heading)])
    t = np.linspace(-1, 1, 25)
    bow = rng.normal(0, 0.12) * t**2 + rng.normal(0, 0.12) * t**3
    centre = _random_position(rng, scene.part)
    path = centre + half_length * (np.outer(t, along) + np.outer(bow, aside))
    strokes = []
    for line in range(lines):
        strengths = rng.uniform(0.6, 1, 7)
        pressure = np.interp(t, t[::4], strengths) * (1 - t**2) ** 0.4
        strokes.append(_stroke(path + line * aside, pressure))
    groove = np.max(strokes, axis=0)
    burr = _stroke(path - 1.3 * aside, np.sqrt(1 - t**2))
    offset = rng.choice((-1, 1)) * rng.uniform(20, 60) * severity
    relief = offset * (groove - rng.uniform(0, 0.8) * burr) * scene.part
    return np.asarray(scene.colours + relief[..., None], np.float32)


DAMAGES: dict[str, Callable[[Generator, Scene, float], FloatImage]] = {
    "stain": _stain,
    "foreign_colour": _foreign_colour,
    "scratch": _scratch,
}
"""By defect type: (rng, scene, severity 0…1) -> the scene's colours with the defect."""


def _random_position(rng: Generator, part: FloatImage) -> npt.NDArray[np.intp]:
    """A position (x, y) well inside the part."""
    inside = np.argwhere(cv2.erode(part, np.ones((13, 13), np.uint8)) > 0.99)
    return inside[rng.integers(len(inside)), ::-1]


def _clouds(rng: Generator, nodes: int) -> FloatImage:
    """Smooth noise, mean 0, spread about 1, with so many hills along a side."""
    hills = rng.standard_normal((nodes, nodes), np.float32)
    size = (HEATSINK_SIDE, HEATSINK_SIDE)
    return np.asarray(cv2.resize(hills, size, interpolation=cv2.INTER_CUBIC), np.float32)


def _blob(rng: Generator, part: FloatImage, radius: float, aspect: float) -> FloatImage:
    """An irregular patch on the part: 1 in its middle, 0 along its edge, below 0 outside."""
    y, x = np.ogrid[:HEATSINK_SIDE, :HEATSINK_SIDE]
    x0, y0 = _random_position(rng, part)
    turn = rng.uniform(0, math.pi)
    along = math.cos(turn) * (x - x0) + math.sin(turn) * (y - y0)
    aside = math.cos(turn) * (y - y0) - math.sin(turn) * (x - x0)
    rough = 0.2 * _clouds(rng, min(max(round(1.4 * HEATSINK_SIDE / radius), 12), 56))
    distance = np.hypot(along / (radius * aspect), aside / radius)
    return np.asarray(1 + rough - distance, np.float32)


def _stroke(path: npt.NDArray[np.float64], pressure: npt.NDArray[np.float64]) -> FloatImage:
    canvas = np.zeros((HEATSINK_SIDE, HEATSINK_SIDE), np.uint8)
    points = np.rint(path * 16).astype(int).tolist()  # sixteenths of a pixel
    for start, end, pressed in zip(points, points[1:], pressure.tolist(), strict=False):
        cv2.line(canvas, start, end, (255 * pressed,), 1, cv2.LINE_AA, shift=4)
    return np.asarray(canvas / 255, np.float32)
