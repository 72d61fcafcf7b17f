"""Small defects in large images: found with tiles and by resizing, and what an image takes.

    python bench/large_images.py [--width 2000] [--height 2000] [--good 24] [--defective 40]

Draws heat sinks at that size, with sensor noise of each pixel: good ones to fit, good ones to set
the rank by, and with a dot of 6 pixels or a scratch 2 pixels wide of stated contrast. Fits by tiles
and by resizing, and prints the share of defects that score higher than all but 5 % of the good test
images."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from flawmap import AutoSize, Inspector, TileSize, load
from flawmap.data.auto_size import InputSize
from flawmap.runtime.image_types import ImageU8
from flawmap.synthetic.heatsink_scene import draw_scene
from flawmap.synthetic.probes import Probe, paint_probe

PROBES = {
    "dot, 6 px, 40 levels": Probe("dot", size=6, contrast=40, unit="levels"),
    "scratch, 2 × 48 px, 40 levels": Probe("scratch", size=48, contrast=40, unit="levels", width=2),
}
FALSE_REJECTS = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=int, default=2000)
    parser.add_argument("--height", type=int, default=2000)
    parser.add_argument("--good", type=int, default=24, help="to fit")
    parser.add_argument("--test", type=int, default=20, help="good ones to test")
    parser.add_argument("--defective", type=int, default=40, help="of each kind")
    parser.add_argument("--tile", type=int, nargs="*", default=[512])
    parser.add_argument("--keep", type=Path, help="folder for the images, kept")
    parser.add_argument("--set", nargs="*", default=[], help="options of the method")
    parser.add_argument("--no-resize", action="store_true")
    arguments = parser.parse_args()
    sizes: dict[str, InputSize] = {f"tiles of {side}": TileSize(side) for side in arguments.tile}
    if not arguments.no_resize:
        sizes["resized"] = AutoSize()
    options = dict(option.split("=") for option in arguments.set)
    with TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        draw(folder, arguments)
        table = Table("input", "fit", "an image", *PROBES)
        for name, size in sizes.items():
            table.add_row(name, *measure(folder, size, options))
    Console(width=110).print(table)


def draw(folder: Path, arguments: argparse.Namespace) -> None:
    """Write the images that are not there yet."""
    counts = {"good": arguments.good, "test": arguments.test}
    counts |= dict.fromkeys(PROBES, arguments.defective)
    for part, (name, count) in enumerate(counts.items()):
        for number in track(range(count), f"drawing {name}"):
            file = folder / name / f"{number:03}.png"
            if file.exists():
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            rng = np.random.default_rng([part, number])
            image, foreground = draw_large(rng, arguments.height, arguments.width)
            if name in PROBES:
                image = paint_probe(image, PROBES[name], rng, foreground).image
            cv2.imwrite(str(file), image[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])


def draw_large(rng: np.random.Generator, height: int, width: int) -> tuple[ImageU8, np.ndarray]:
    """A good heat sink of any size, and where it is."""
    scene = draw_scene(rng, "Black")
    size = width, height
    pixels = cv2.resize(scene.colours, size, interpolation=cv2.INTER_CUBIC)
    # Brushed metal and the sensor's noise are as fine as the pixels, at any size.
    grain = cv2.blur(rng.normal(0, 6, (height, width)).astype(np.float32), (25, 1))
    noise = rng.standard_normal(pixels.shape, np.float32) * 1.5
    part = cv2.resize(scene.part, size)
    pixels = pixels + (part * grain)[:, :, None] + noise
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8), part > 0.9


def measure(folder: Path, size: InputSize, options: dict[str, Any]) -> Iterator[str]:
    """Time of the fit and of an image, and the share of each kind of defect that is found."""
    started = time.perf_counter()
    inspector = Inspector("flawmap", size=size, **options).fit(folder / "good")
    yield f"{time.perf_counter() - started:.0f} s"
    file = folder / "part.flawmap"
    inspector.save(file)
    runtime = load(file)
    scores = {}
    started = time.perf_counter()
    for name in ("test", *PROBES):
        paths = sorted((folder / name).iterdir())
        found = track(runtime.inspect_many(paths), name, len(paths))
        scores[name] = np.array([one.verdict.score for one in found if one.verdict])
    count = sum(map(len, scores.values()))
    yield f"{1000 * (time.perf_counter() - started) / count:.0f} ms"
    good = np.sort(scores["test"])
    limit = good[len(good) - 1 - int(FALSE_REJECTS * len(good))]
    for name in PROBES:
        found = scores[name] > limit
        calibrated = scores[name] > runtime.calibration.threshold
        yield f"{found.mean():.1%} by rank, {calibrated.mean():.1%} by the threshold"


if __name__ == "__main__":
    main()
