"""The whole of flawmap in a minute: draw parts, learn the good ones, find the defects of the others."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from flawmap.data import heatsink
from flawmap.data.layouts import Sample, to_test
from flawmap.evaluation import Row, evaluate
from flawmap.inspector import Inspector
from flawmap.metrics.metric import Metric
from flawmap.output import write_json, write_picture
from flawmap.prepare import Mask, read, read_mask
from flawmap.render.heatmap import Picture, draw_truth, overlay, sheet, to_8_bit
from flawmap.runtime import Inspection

METHODS = ("patchcore", "improved-patchcore")
DEFECTIVE, GOOD = 6, 2
"""Pictures of each product on the contact sheet: the first ones of each kind, not the best ones."""

Overlays = dict[Path, Picture]


class Demo(NamedTuple):
    """What the demo left behind."""

    metrics: dict[str, dict[str, Metric]]
    contact_sheet: Path
    inspector: Path
    pictures: Path


def run(folder: Path, seed: int = 0) -> Demo:
    """Write drawn heat sinks, saved inspectors, figures and a contact sheet to `folder`."""
    heatsink.write(folder / "data", heatsink.DEMO, seed)
    metrics, halves = {}, []
    for product in heatsink.PRODUCTS:
        data = folder / "data" / product
        shown = first_of_each_kind(to_test(data))
        overlays = {}
        for name in METHODS:
            inspector = Inspector(name, seed=seed).fit(data)
            inspector.save(folder / f"{product}-{name}.flawmap")
            metrics[f"{product} {name}"], overlays[name] = _evaluate(inspector, data)
        halves.append([[read(s.path), _truth(s), *(overlays[name][s.path] for name in METHODS)] for s in shown])
    rows = [left + right for left, right in zip(*halves, strict=True)]
    titles = [title for product in heatsink.PRODUCTS for title in (product, "truth", *METHODS)]
    contact_sheet = folder / "contact_sheet.png"
    write_picture(contact_sheet, sheet(rows, titles, cell=168))
    write_json(folder / "metrics.json", {key: {k: m.to_json() for k, m in of.items()} for key, of in metrics.items()})
    example = heatsink.PRODUCTS[0]
    return Demo(
        metrics,
        contact_sheet,
        folder / f"{example}-{METHODS[0]}.flawmap",
        folder / "data" / example / "test" / "scratch",
    )


def first_of_each_kind(samples: list[Sample], defective: int = DEFECTIVE, good: int = GOOD) -> list[Sample]:
    """Take the first samples of each kind of defect, as many of one as of another, and the first good ones."""
    kinds = sorted({sample.kind for sample in samples if sample.label})
    counts = dict.fromkeys(kinds, defective // max(1, len(kinds))) | {"good": good}
    return [sample for kind, count in counts.items() for sample in [s for s in samples if s.kind == kind][:count]]


def _evaluate(inspector: Inspector, data: Path) -> tuple[dict[str, Metric], Overlays]:
    overlays: Overlays = {}

    def keep(row: Row, inspection: Inspection, mask: Mask | None) -> None:
        del mask
        if inspection.verdict and inspection.pixels is not None:
            overlays[row.sample.path] = overlay(inspection.pixels, inspection.verdict)

    return evaluate(inspector.runtime, to_test(data), seen=keep).metrics, overlays


def _truth(sample: Sample) -> Picture:
    pixels = read(sample.path)
    return draw_truth(pixels, read_mask(sample.mask)) if sample.mask else to_8_bit(pixels)
