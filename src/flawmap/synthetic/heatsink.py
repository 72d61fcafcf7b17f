"""Images of memory heat sinks, good and defective, each defect with its exact mask.

A stand-in for the private data of Li et al. 2025, "Surface defect detection algorithm for memory
heat sink based on improved PatchCore", section on data: 224×224 colour images of two products,
Black (mostly stains and foreign colour) and White (mostly scratches), 897 good and 692 defective in
all.

A product is a drawing of a stamped aluminium plate. An image is that plate with a grain, a pose, a
print, a light and a sensor of its own, all from one seed. A defect comes from another stream of the
same seed, so ``draw_good(product, seed)`` is the part of ``draw_defective(product, defect_type,
seed)`` before it was damaged.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy.random import Generator, SeedSequence, default_rng

from flawmap.errors import OptionError, WriteError
from flawmap.runtime.image_types import ImageU8
from flawmap.support.progress import track
from flawmap.synthetic.blend import FloatImage
from flawmap.synthetic.heatsink_damage import DAMAGES
from flawmap.synthetic.heatsink_designs import DESIGNS
from flawmap.synthetic.heatsink_scene import draw_scene

_MaskU8 = UInt8[np.ndarray, "height width"]
"""255 where an image is defective, 0 elsewhere."""

_Seed = int | Sequence[int]
"""Not negative."""


@dataclass(frozen=True)
class ImageCounts:
    """How many images of a product to draw.

    Args:
        train_good: good images to fit on.
        test_good: good images to test with.
        defective: defective images to test with, of all types together.
    """

    train_good: int
    test_good: int
    defective: int


PAPER_COUNTS = {"Black": ImageCounts(200, 92, 300), "White": ImageCounts(500, 105, 392)}
"""The paper's totals; its bank-building times suggest about 200 and 500 images to fit on."""

DEMO_COUNTS = {"Black": ImageCounts(60, 20, 40), "White": ImageCounts(60, 20, 40)}
"""What is drawn in a few seconds."""


def draw_good(product: str, seed: _Seed) -> ImageU8:
    """A part as it should be.

    Args:
        product: a name among `DESIGNS`.
        seed: all that the image depends on besides the product.

    Returns:
        224×224, RGB.

    Raises:
        OptionError: there is no such product.

    >>> draw_good("White", seed=7).shape
    (224, 224, 3)
    """
    _check_known("product", product, DESIGNS)
    part, sensor, _ = map(default_rng, SeedSequence(seed).spawn(3))
    return _sensed(sensor, _exposed(draw_scene(part, product).colours))


def draw_defective(product: str, defect_type: str, seed: _Seed) -> tuple[ImageU8, _MaskU8]:
    """The part of `draw_good` at the same seed with a defect, from glaring to barely visible.

    Args:
        product: a name among `DESIGNS`.
        defect_type: a name among `DAMAGES`.
        seed: all that the image depends on besides product and defect type.

    Returns:
        224×224, RGB, and the mask: 255 where the defect changes some channel by more than a grey
        level before the sensor's noise.

    Raises:
        OptionError: there is no such product or defect type.

    >>> image, mask = draw_defective("White", "scratch", seed=7)
    >>> image.shape, mask.shape, bool(mask.any())
    ((224, 224, 3), (224, 224), True)
    """
    _check_known("defect type", defect_type, DAMAGES)
    _check_known("product", product, DESIGNS)
    part, sensor, flaw = map(default_rng, SeedSequence(seed).spawn(3))
    scene = draw_scene(part, product)
    severity = 1 - 0.8 * flaw.uniform(0, 1) ** 3
    before = _exposed(scene.colours)
    after = _exposed(DAMAGES[defect_type](flaw, scene, severity))
    changed = np.max(cv2.split(cv2.absdiff(before, after)), axis=0) > 1.0
    # Between its bright and its dark side a scratch crosses zero; it is one defect all the same.
    closed = cv2.morphologyEx(
        255 * changed.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)
    )
    return _sensed(sensor, after), np.asarray(closed, np.uint8)


def write_heatsinks(root: Path, counts: Mapping[str, ImageCounts], seed: int = 0) -> None:
    """Draw a data set in the layout of MVTec AD; the same seed writes the same bytes again.

    ``<product>/train/good/000.png``, ``<product>/test/<good or defect type>/000.png`` and, for each
    defect, ``<product>/ground_truth/<defect type>/000_mask.png``.

    Args:
        root: folder of the data set; made where it is missing.
        counts: images to draw, by product.
        seed: of all images, >= 0; how many are drawn changes none of them.

    Raises:
        OptionError: there is no such product; nothing is drawn then.
    """
    shots = [shot for product in counts for shot in _shots(product, counts[product])]
    for shot in track(shots, "drawing heat sinks", len(shots)):
        group = f"{shot.product}/{shot.split}/{shot.defect_type}"
        own_seed = (seed, zlib.crc32(group.encode()), shot.number)
        path = root / group / f"{shot.number:03d}.png"
        if shot.defect_type == "good":
            _save(path, draw_good(shot.product, own_seed)[..., ::-1])
            continue
        image, mask = draw_defective(shot.product, shot.defect_type, own_seed)
        masks = root / shot.product / "ground_truth" / shot.defect_type
        _save(path, image[..., ::-1])
        _save(masks / f"{shot.number:03d}_mask.png", mask)


class _Shot(NamedTuple):
    product: str
    split: str
    defect_type: str
    number: int


def _shots(product: str, counts: ImageCounts) -> Iterator[_Shot]:
    """Every image to draw of a product."""
    _check_known("product", product, DESIGNS)
    percents = DESIGNS[product].defects
    cumulative = np.cumsum([0, *percents.values()])
    ends = np.rint(cumulative * counts.defective / 100).astype(int)
    defective = zip(percents, np.diff(ends).tolist(), strict=True)
    groups = [("train", "good", counts.train_good), ("test", "good", counts.test_good)]
    groups += [("test", defect_type, count) for defect_type, count in defective]
    for split, defect_type, count in groups:
        for number in range(count):
            yield _Shot(product, split, defect_type, number)


def _check_known(what: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        raise OptionError(f"unknown {what} {name!r}; the known ones are {', '.join(known)}")


def _exposed(colours: FloatImage) -> FloatImage:
    """Seen through the lens: a little blur, and what is too bright is white."""
    return np.asarray(np.clip(cv2.GaussianBlur(colours, (0, 0), 0.5), 0, 255), np.float32)


def _sensed(rng: Generator, exposed: FloatImage) -> ImageU8:
    """With read noise and shot noise, rounded to grey levels."""
    noise = rng.standard_normal(exposed.shape, np.float32)
    noisy = exposed + noise * (0.8 + 0.08 * np.sqrt(exposed))
    return np.asarray(np.clip(np.rint(noisy), 0, 255), np.uint8)


def _save(path: Path, image: np.ndarray) -> None:
    _, data = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise WriteError(f"{path}: could not be written ({error.strerror})") from error
