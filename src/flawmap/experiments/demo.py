"""The whole of flawmap in a minute.

Draw parts, learn the good ones, find the defects of the others.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from flawmap.data.layouts import labelled_test_samples
from flawmap.data.sample import Sample
from flawmap.evaluation import Record, evaluate
from flawmap.inspector import Inspector
from flawmap.metrics.metric import Metric
from flawmap.render.encode import write_image
from flawmap.render.figures import sheet
from flawmap.render.heatmap import draw_mask_outline, overlay
from flawmap.runtime.decode import decode, decode_mask
from flawmap.runtime.inference import Inspection
from flawmap.runtime.preprocess import ImageU8, Mask, to_uint8
from flawmap.support.tables import write_json
from flawmap.synthetic import heatsink

DEMO_METHODS = ("patchcore", "improved-patchcore")
DEFECTIVE, GOOD = 6, 2
"""Images of each product on the contact sheet: the first ones of each kind, not the best ones."""

Overlays = dict[Path, ImageU8]


class DemoResult(NamedTuple):
    """What the demo left behind."""

    metrics: dict[str, dict[str, Metric]]
    contact_sheet: Path
    inspector: Path
    images: Path


def run(folder: Path, seed: int = 0) -> DemoResult:
    """Write drawn heat sinks, saved inspectors, figures and a contact sheet to `folder`."""
    heatsink.write_heatsinks(folder / "data", heatsink.DEMO, seed)
    metrics, halves = {}, []
    for product in heatsink.PRODUCTS:
        data = folder / "data" / product
        shown = contact_sheet_samples(labelled_test_samples(data))
        overlays = {}
        for name in DEMO_METHODS:
            inspector = Inspector(name, seed=seed).fit(data)
            inspector.save(folder / f"{product}-{name}.flawmap")
            metrics[f"{product} {name}"], overlays[name] = _evaluate(inspector, data)
        halves.append(
            [
                [decode(s.path), _truth(s), *(overlays[name][s.path] for name in DEMO_METHODS)]
                for s in shown
            ]
        )
    rows = [left + right for left, right in zip(*halves, strict=True)]
    titles = [title for product in heatsink.PRODUCTS for title in (product, "truth", *DEMO_METHODS)]
    contact_sheet = folder / "contact_sheet.png"
    write_image(contact_sheet, sheet(rows, titles, cell=168))
    write_json(
        folder / "metrics.json",
        {key: {k: m.to_dict() for k, m in of.items()} for key, of in metrics.items()},
    )
    example = heatsink.PRODUCTS[0]
    return DemoResult(
        metrics,
        contact_sheet,
        folder / f"{example}-{DEMO_METHODS[0]}.flawmap",
        folder / "data" / example / "test" / "scratch",
    )


def contact_sheet_samples(
    samples: list[Sample], defective: int = DEFECTIVE, good: int = GOOD
) -> list[Sample]:
    """The first samples of each defect type, equally many of each, and the first good ones."""
    kinds = sorted({sample.defect_type for sample in samples if sample.label})
    counts = dict.fromkeys(kinds, defective // max(1, len(kinds))) | {"good": good}
    return [
        sample
        for kind, count in counts.items()
        for sample in [s for s in samples if s.defect_type == kind][:count]
    ]


def _evaluate(inspector: Inspector, data: Path) -> tuple[dict[str, Metric], Overlays]:
    overlays: Overlays = {}

    def keep(row: Record, inspection: Inspection, mask: Mask | None) -> None:
        del mask
        if inspection.verdict and inspection.image is not None:
            overlays[row.sample.path] = overlay(inspection.image, inspection.verdict)

    return evaluate(inspector.runtime, labelled_test_samples(data), on_image=keep).metrics, overlays


def _truth(sample: Sample) -> ImageU8:
    pixels = decode(sample.path)
    return draw_mask_outline(pixels, decode_mask(sample.mask)) if sample.mask else to_uint8(pixels)
