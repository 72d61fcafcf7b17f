"""Shapes of probes: by what fraction of its contrast a defect changes each pixel around it."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from flawmap.synthetic.blend import FloatImage
from flawmap.synthetic.defects import bezier_curve
from flawmap.synthetic.textures import stretch


def disc(size: float) -> FloatImage:
    """A disc whose edge takes a quarter of its diameter, and one pixel at least.

    Args:
        size: diameter at half of the strength, in pixels, >= 1.

    Returns:
        (side, side), 0…1; the side is odd, so that the middle is a pixel.

    >>> disc(1).tolist()
    [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """
    edge = max(size / 4, 1.0)
    x, y = _grid(math.ceil((size + edge) / 2))
    return _soft(size / 2 - np.hypot(x, y), edge)


def blob(rng: Generator, size: float, softness: float) -> FloatImage:
    """An uneven disc, as large as a disc of that diameter.

    Args:
        rng: its outline.
        size: diameter of the disc with the same area at half of the strength, in pixels, >= 1.
        softness: width of its edge as a fraction of the size; one pixel at least.

    Returns:
        (side, side), 0…1; the side is odd, so that the middle is a pixel.

    >>> uneven = blob(np.random.default_rng(0), size=20, softness=0.25)
    >>> abs((uneven >= 0.5).sum() / (np.pi * 10**2) - 1) < 0.02
    np.True_
    """
    edge = max(softness * size, 1.0)
    aspect = rng.uniform(0.8, 1.25)
    hills = rng.uniform(-1, 1, (5, 5))
    x, y = _grid(math.ceil(size + edge))
    uneven = 1 + 0.3 * stretch(hills, *x.shape)
    inside = size / 2 * uneven - np.hypot(x * aspect, y / aspect)
    area = max(round(math.pi * size**2 / 4), 1)
    largest = np.sort(inside.reshape(-1))[::-1]
    outline = (largest[area - 1] + largest[area]) / 2
    return _soft(inside - outline, edge, peak=float(largest[0] - outline))


def line(rng: Generator, length: float, width: float) -> FloatImage:
    """A thin line, straight or slightly bent, in any direction.

    Args:
        rng: its direction and bend.
        length: along the line, in pixels.
        width: at half of the strength, in pixels, >= 1.

    Returns:
        (side, side), 0…1; the side is odd, and the middle pixel lies on the line.

    >>> stroke = line(np.random.default_rng(0), length=40, width=2)
    >>> abs(stroke.sum() / (40 * 2) - 1) < 0.1
    np.True_
    """
    path = bezier_curve(rng, length)
    steps = np.diff(path, axis=0)
    stretched = length / np.hypot(*steps.T).sum()
    path, steps = path * stretched, steps * stretched
    x, y = _grid(math.ceil(np.abs(path).max() + width / 2 + 1))
    distance = np.full(x.shape, np.inf)
    for (x0, y0), (dx, dy) in zip(path[:-1].tolist(), steps.tolist(), strict=True):
        along = np.clip(((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy), 0, 1)
        np.minimum(distance, np.hypot(x - x0 - along * dx, y - y0 - along * dy), out=distance)
    return _soft(width / 2 - distance, 1.0)


def grain(rng: Generator, shape: FloatImage) -> FloatImage:
    """A shape filled with grain that leaves the mean as it is.

    Args:
        rng: the grain.
        shape: fraction of the grain in each pixel, 0…1; at least two are 0.5 or more.

    Returns:
        Of the same size; where the shape is 0.5 or more the mean is 0, the standard deviation 1.

    >>> grained = grain(np.random.default_rng(0), disc(12))
    >>> bool(abs(grained[disc(12) >= 0.5].std() - 1) < 1e-3)
    True
    """
    sigma_x, sigma_y = rng.uniform(0.3, max(len(shape) / 12, 0.6), 2).tolist()
    noise = rng.standard_normal(shape.shape).astype(np.float32)
    fibres = np.asarray(cv2.GaussianBlur(noise, (0, 0), sigmaX=sigma_x, sigmaY=sigma_y))
    body = shape >= 0.5
    fibres = fibres - np.average(fibres[body], weights=shape[body])
    filled = shape * fibres
    return np.asarray(filled / filled[body].std(), np.float32)


def _grid(half: int) -> tuple[FloatImage, FloatImage]:
    """Distances from the middle along both axes, each (2·half + 1, 2·half + 1)."""
    offsets = np.arange(-half, half + 1, dtype=np.float32)
    x, y = np.meshgrid(offsets, offsets)
    return x, y


def _soft(inside: npt.NDArray[np.floating], edge: float, peak: float = math.inf) -> FloatImage:
    """From the distance inside an outline: 0.5 on it, 1 where it is half an edge or the peak."""
    half_edge = min(edge / 2, peak)
    return np.asarray(np.clip(0.5 + inside / (2 * half_edge), 0, 1), np.float32)
