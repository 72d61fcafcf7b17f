"""Draws images of memory heat sinks, good and defective, each defect with its exact mask.

A stand-in for the private data of Li et al. 2025, "Surface defect detection algorithm for memory
heat sink based on improved PatchCore", section on data: 224×224 colour images of two products,
Black (mostly stains and foreign colour) and White (mostly scratches), 897 good and 692 defective in
all.

A product is one drawing of a stamped aluminium plate. An image is that plate with a grain, a pose,
a print, a light and a sensor of its own, all from one seed. A defect comes from another stream of
the same seed, so ``draw_good(product, seed)`` is the part of ``draw_defective(product, kind,
seed)`` before it was damaged.

>>> image, mask = draw_defective("White", "scratch", seed=7)
>>> image.shape, mask.shape, bool(mask.any())
((224, 224, 3), (224, 224), True)
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from numpy.random import Generator, SeedSequence, default_rng

from flawmap.errors import OptionError
from flawmap.support.progress import track
from flawmap.synthetic.blend import FloatImage, alpha_blend
from flawmap.synthetic.heatsink_scene import DESIGNS, HEATSINK_SIDE, Scene, draw_scene

ImageU8 = npt.NDArray[np.uint8]  # SIDE × SIDE × 3, RGB
MaskU8 = npt.NDArray[np.uint8]  # SIDE × SIDE, 0 or 255
Seed = int | Sequence[int]  # not negative

MASK_THRESHOLD_LEVELS = 1.0  # grey levels; a defect's mask is where it changes the image by more


@dataclass(frozen=True)
class ImageCounts:
    """How many images of one product to draw."""

    train_good: int
    test_good: int
    defective: int


# The paper gives the totals only; its bank-building times suggest about 200 and 500 images to learn
# from.
PAPER_COUNTS = {"Black": ImageCounts(200, 92, 300), "White": ImageCounts(500, 105, 392)}
DEMO_COUNTS = {"Black": ImageCounts(60, 20, 40), "White": ImageCounts(60, 20, 40)}
PRODUCTS = tuple(DESIGNS)


def _somewhere(rng: Generator, part: FloatImage) -> npt.NDArray[np.intp]:
    """Pick a place, x and y, well inside the part."""
    inside = np.argwhere(cv2.erode(part, np.ones((13, 13), np.uint8)) > 0.99)
    return inside[rng.integers(len(inside)), ::-1]


def _clouds(rng: Generator, nodes: int) -> FloatImage:
    """Draw smooth noise, mean 0, spread about 1, with so many hills along a side."""
    hills = rng.standard_normal((nodes, nodes), np.float32)
    return np.asarray(
        cv2.resize(hills, (HEATSINK_SIDE, HEATSINK_SIDE), interpolation=cv2.INTER_CUBIC), np.float32
    )


def _blob(rng: Generator, part: FloatImage, radius: float, stretch: float) -> FloatImage:
    """Draw an irregular patch on the part: 1 in its middle, 0 along its edge, below 0 outside."""
    y, x = np.ogrid[:HEATSINK_SIDE, :HEATSINK_SIDE]
    x0, y0 = _somewhere(rng, part)
    turn = rng.uniform(0, math.pi)
    along = math.cos(turn) * (x - x0) + math.sin(turn) * (y - y0)
    aside = math.cos(turn) * (y - y0) - math.sin(turn) * (x - x0)
    rough = 0.2 * _clouds(rng, min(max(round(1.4 * HEATSINK_SIDE / radius), 12), 56))
    return np.asarray(1 + rough - np.hypot(along / (radius * stretch), aside / radius), np.float32)


_LIQUIDS = (
    (128, 116, 92),
    (96, 104, 120),
    (140, 138, 132),
    (84, 52, 22),
    (14, 13, 12),
)  # RGB under a light of 1


def _stain(rng: Generator, scene: Scene, severity: float) -> FloatImage:
    """Dry a liquid on the part.

    A mottled film, often with the dark rim of a coffee ring, sometimes smeared.
    """
    blob = _blob(rng, scene.part, rng.uniform(4, 20), rng.choice((1.0, 1.3, 2.2)))
    body = (
        rng.uniform(0.6, 1)
        * np.clip(blob / rng.uniform(0.2, 0.9), 0, 1)
        * (1 - 0.15 * np.abs(_clouds(rng, 40)))
    )
    ring = (
        rng.uniform(0, 1)
        * np.clip(blob / 0.12, 0, 1)
        * np.exp(-np.clip(blob, 0, 1) / rng.uniform(0.08, 0.25))
    )
    share = severity * rng.uniform(0.5, 0.9) * np.clip(body + ring, 0, 1) * scene.part
    film = rng.choice(_LIQUIDS) * scene.light[..., None]
    grain = scene.colours - cv2.blur(scene.colours, (13, 13))
    return alpha_blend(scene.colours, film + 0.6 * grain, share)


def _foreign_colour(rng: Generator, scene: Scene, severity: float) -> FloatImage:
    """Tint a patch, through which the grain still shows."""
    blob = _blob(rng, scene.part, rng.uniform(6, 24), rng.uniform(1, 1.8))
    hue = np.cos(rng.uniform(0, 2 * math.pi) + np.array([0, 2, 4]) * math.pi / 3)
    tint = np.asarray(rng.uniform(0.9, 1.25) + 0.4 * hue, np.float32)
    return alpha_blend(
        scene.colours,
        scene.colours * tint,
        severity * np.clip(blob / rng.uniform(0.15, 1), 0, 1) * scene.part,
    )


def _stroke(path: npt.NDArray[np.float64], pressure: npt.NDArray[np.float64]) -> FloatImage:
    canvas = np.zeros((HEATSINK_SIDE, HEATSINK_SIDE), np.uint8)
    points = np.rint(path * 16).astype(int).tolist()  # sixteenths of a pixel
    for start, end, press in zip(points, points[1:], pressure.tolist(), strict=False):
        cv2.line(canvas, start, end, (255 * press,), 1, cv2.LINE_AA, shift=4)
    return np.asarray(canvas / 255, np.float32)


def _scratch(rng: Generator, scene: Scene, severity: float) -> FloatImage:
    """One to three parallel hairlines, uneven, with a burr that reflects on one side."""
    heading, half, lines = (
        rng.uniform(0, math.pi),
        rng.uniform(10, 60),
        int(rng.choice((1, 1, 2, 2, 3))),
    )
    along, aside = np.array(
        [(math.cos(heading), math.sin(heading)), (-math.sin(heading), math.cos(heading))]
    )
    t = np.linspace(-1, 1, 25)
    bow = rng.normal(0, 0.12) * t**2 + rng.normal(0, 0.12) * t**3
    path = _somewhere(rng, scene.part) + half * (np.outer(t, along) + np.outer(bow, aside))
    press = (np.interp(t, t[::4], rng.uniform(0.6, 1, 7)) * (1 - t**2) ** 0.4 for _ in range(lines))
    groove = np.max([_stroke(path + line * aside, p) for line, p in enumerate(press)], axis=0)
    burr = _stroke(path - 1.3 * aside, np.sqrt(1 - t**2))
    offset = rng.choice((-1, 1)) * rng.uniform(20, 60) * severity
    relief = offset * (groove - rng.uniform(0, 0.8) * burr) * scene.part
    return np.asarray(scene.colours + relief[..., None], np.float32)


_DAMAGE = {"stain": _stain, "foreign_colour": _foreign_colour, "scratch": _scratch}
HEATSINK_DEFECT_TYPES = tuple(_DAMAGE)


def _exposed(colours: FloatImage) -> FloatImage:
    """Look through the lens: a little blur, and what is too bright is white."""
    return np.asarray(np.clip(cv2.GaussianBlur(colours, (0, 0), 0.5), 0, 255), np.float32)


def _sensed(rng: Generator, exposed: FloatImage) -> ImageU8:
    """Add read noise and shot noise, and round to grey levels."""
    noisy = exposed + rng.standard_normal(exposed.shape, np.float32) * (
        0.8 + 0.08 * np.sqrt(exposed)
    )
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def _known(what: str, name: str, known: Sequence[str]) -> str:
    if name not in known:
        raise OptionError(f"unknown {what} {name!r}; the known ones are {', '.join(known)}")
    return name


def draw_good(product: str, seed: Seed) -> ImageU8:
    """Draw a part as it should be, SIDE × SIDE RGB. OptionError if there is no such product."""
    part, sensor, _ = map(default_rng, SeedSequence(seed).spawn(3))
    return _sensed(sensor, _exposed(draw_scene(part, _known("product", product, PRODUCTS)).colours))


def draw_defective(product: str, kind: str, seed: Seed) -> tuple[ImageU8, MaskU8]:
    """The part of `draw_good` at the same seed with one defect, and its mask.

    Defects reach from glaring to barely visible.

    The mask is 255 where the defect changes some channel by more than VISIBLE grey levels before
    the sensor's noise. OptionError if there is no such product or kind.
    """
    damage = _DAMAGE[_known("kind of defect", kind, HEATSINK_DEFECT_TYPES)]
    part, sensor, flaw = map(default_rng, SeedSequence(seed).spawn(3))
    scene = draw_scene(part, _known("product", product, PRODUCTS))
    before, after = (
        _exposed(scene.colours),
        _exposed(damage(flaw, scene, 1 - 0.8 * flaw.uniform(0, 1) ** 3)),
    )
    changed = np.max(cv2.split(cv2.absdiff(before, after)), axis=0) > MASK_THRESHOLD_LEVELS
    # Between its bright and its dark side a scratch crosses zero; it is one defect all the same.
    mask = cv2.morphologyEx(
        255 * changed.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)
    )
    return _sensed(sensor, after), np.asarray(mask, np.uint8)


def _shots(product: str, counts: ImageCounts) -> Iterator[tuple[str, str, str, int]]:
    """List product, split, kind and index of every image to draw."""
    shares = DESIGNS[_known("product", product, PRODUCTS)].defects
    ends = np.rint(np.cumsum([0, *shares.values()]) * counts.defective / 100).astype(int)
    rows = [("train", "good", counts.train_good), ("test", "good", counts.test_good)]
    rows += [
        ("test", kind, count) for kind, count in zip(shares, np.diff(ends).tolist(), strict=True)
    ]
    return ((product, split, kind, index) for split, kind, count in rows for index in range(count))


def _save(path: Path, image: ImageU8 | MaskU8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        cv2.imencode(".png", image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
    )


def write_heatsinks(root: Path, counts: Mapping[str, ImageCounts], seed: int = 0) -> None:
    """Draw a data set in the layout of MVTec AD under `root`.

    The same seed writes the same bytes again.

    ``<product>/train/good/000.png``, ``<product>/test/<good or kind>/000.png`` and, for every
    defect, ``<product>/ground_truth/<kind>/000_mask.png``. OptionError if there is no such product.
    """
    shots = [shot for product in counts for shot in _shots(product, counts[product])]
    for product, split, kind, index in track(shots, "drawing heat sinks", len(shots)):
        own = (seed, zlib.crc32(f"{product}/{split}/{kind}".encode()), index)
        path = root / product / split / kind / f"{index:03d}.png"
        if kind == "good":
            _save(path, draw_good(product, own))
        else:
            image, mask = draw_defective(product, kind, own)
            _save(path, image)
            _save(root / product / "ground_truth" / kind / f"{index:03d}_mask.png", mask[..., None])
