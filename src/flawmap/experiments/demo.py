"""All of flawmap in a minute: draw parts, fit to the good ones, find the defects of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from flawmap.data.layouts import labelled_test_samples
from flawmap.data.read_mask import read_mask
from flawmap.data.sample import GOOD, Sample
from flawmap.evaluation import evaluate
from flawmap.inspector import Inspector
from flawmap.metrics.metric import Metric
from flawmap.render.encode import write_image
from flawmap.render.figures import contact_sheet
from flawmap.render.heatmap import draw_mask_outline, overlay
from flawmap.runtime.image_types import ImageInput, ImageU8
from flawmap.runtime.images.decode import decode
from flawmap.runtime.inference import Inspection
from flawmap.runtime.preprocess import to_uint8
from flawmap.support.tables import write_json
from flawmap.synthetic.heatsink import DEMO_COUNTS, ImageCounts, write_heatsinks

_METHODS = ("flawmap", "improved-patchcore")


class DemoResult(NamedTuple):
    """What the demo left behind.

    Args:
        metrics: by product and method, then by name.
        contact_sheet: image file with inspected parts of all products.
        inspector: a saved inspector.
        images: folder of images that the inspector can inspect.
    """

    metrics: dict[str, dict[str, Metric]]
    contact_sheet: Path
    inspector: Path
    images: Path


def run(folder: Path, seed: int = 0, counts: Mapping[str, ImageCounts] = DEMO_COUNTS) -> DemoResult:
    """Write drawn heat sinks, saved inspectors, metrics and a contact sheet to a folder.

    Args:
        folder: where all of it goes; made where it is missing.
        seed: of the drawings and of the methods.
        counts: images to be drawn, by product.
    """
    write_heatsinks(folder / "data", counts, seed)
    metrics: dict[str, dict[str, Metric]] = {}
    rows: dict[str, list[list[ImageInput]]] = {}
    for product in counts:
        data = folder / "data" / product
        samples = contact_sheet_samples(labelled_test_samples(data))
        rows[product] = [[sample.path, _outline_truth(sample)] for sample in samples]
        for name in _METHODS:
            inspector = Inspector(name, seed=seed).fit(data)
            inspector.save(_inspector_file(folder, product, name))
            metrics[f"{product} {name}"], overlays = _evaluate(inspector, data)
            for row, sample in zip(rows[product], samples, strict=True):
                row.append(overlays[sample.path])
    sheet = folder / "contact_sheet.png"
    write_image(sheet, contact_sheet(rows, ["image", "truth", *_METHODS]))
    _write_metrics(folder / "metrics.json", metrics)
    example = next(iter(counts))
    inspector_file = _inspector_file(folder, example, _METHODS[0])
    return DemoResult(metrics, sheet, inspector_file, folder / "data" / example / "test/scratch")


def contact_sheet_samples(
    samples: Sequence[Sample], defective: int = 6, good: int = 2
) -> list[Sample]:
    """The first samples of each defect type, as many of each, and then the first good ones.

    Args:
        samples: of a labelled test set.
        defective: samples of all defect types together, at most.
        good: good samples, at most.

    >>> good, dent = Sample(Path("1.png"), "test", "good"), Sample(Path("2.png"), "test", "dent")
    >>> [sample.path.name for sample in contact_sheet_samples([good, dent, good], good=1)]
    ['2.png', '1.png']
    """
    types = sorted({sample.defect_type for sample in samples if sample.label})
    of_each = defective // max(1, len(types))
    counts = dict.fromkeys(types, of_each) | {GOOD: good}
    chosen: list[Sample] = []
    for defect_type, count in counts.items():
        of_type = [sample for sample in samples if sample.defect_type == defect_type]
        chosen += of_type[:count]
    return chosen


def _inspector_file(folder: Path, product: str, method: str) -> Path:
    return folder / f"{product}-{method}.flawmap"


def _evaluate(
    inspector: Inspector, data: Path
) -> tuple[dict[str, Metric], dict[ImageInput, ImageU8]]:
    """Metrics over the test set, and the overlay of each image by its path."""
    overlays: dict[ImageInput, ImageU8] = {}

    def keep(record: object, inspection: Inspection, mask: object) -> None:
        del record, mask
        if inspection.verdict and inspection.image is not None:
            overlays[inspection.image_input] = overlay(inspection.image, inspection.verdict)

    evaluation = evaluate(inspector.runtime, labelled_test_samples(data), on_image=keep)
    return evaluation.metrics, overlays


def _outline_truth(sample: Sample) -> ImageU8:
    image = decode(sample.path)
    return draw_mask_outline(image, read_mask(sample.mask)) if sample.mask else to_uint8(image)


def _write_metrics(file: Path, metrics: Mapping[str, Mapping[str, Metric]]) -> None:
    plain = {}
    for run_name, by_name in metrics.items():
        plain[run_name] = {name: metric.to_dict() for name, metric in by_name.items()}
    write_json(file, plain)
