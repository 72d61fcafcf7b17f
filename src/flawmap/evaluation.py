"""How well an inspector does on images whose truth is known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np

from flawmap.data.sample import GOOD, Sample
from flawmap.errors import ImageError
from flawmap.metrics.images import confusion_counts, image_metrics
from flawmap.metrics.metric import Metric
from flawmap.metrics.pixels import PixelCounts, pixel_metrics
from flawmap.runtime.decode import decode_mask
from flawmap.runtime.inference import Inspection, Runtime
from flawmap.runtime.preprocess import Mask
from flawmap.support.progress import track

PER_TYPE_METRICS = (
    "image AUROC",
    "image AP",
    "F1 max",
    "F1 of rejecting all",
    "pixel AUROC",
    "AUPRO",
)
"""What is said of each type of defect, against all good images."""


@dataclass(frozen=True)
class Record:
    """One image of an evaluation: the truth, and the verdict or why there is none.

    A mask that cannot be used is an error beside the verdict: the image then counts in no figure
    per pixel.
    """

    sample: Sample
    score: float | None
    p_value: float | None
    reject: bool | None
    error: str
    inference_ms: float


OnImage = Callable[[Record, Inspection, Mask | None], None]
"""Shown each image as it comes, with its true mask where there is one."""


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Args:
        rows: a row per image.
        metrics: figures by name, with their intervals, or with the reason why they cannot be had.
        kinds: the same for each type of defect.
        confusion: TP, FP, FN and TN at the threshold.
    """

    records: list[Record]
    metrics: dict[str, Metric]
    by_defect_type: dict[str, dict[str, Metric]]
    confusion: dict[str, int]


def evaluate(
    runtime: Runtime, samples: Sequence[Sample], *, on_image: OnImage | None = None
) -> Evaluation:
    """Judge the images of `samples` and compare with the truth.

    Figures per pixel take the images that have a mask and the good ones, each in its own size. An
    image that cannot be read has its row with the error and counts in no figure.
    """
    rows: list[Record] = []
    pixels: dict[str, PixelCounts] = defaultdict(PixelCounts)
    inspections = track(
        runtime.inspect_many([sample.path for sample in samples]), "judging", len(samples)
    )
    for sample, inspection in zip(samples, inspections, strict=True):
        mask, error = _truth(sample, inspection)
        verdict = inspection.verdict
        score, p_value, reject = (
            (verdict.score, verdict.p_value, verdict.reject) if verdict else (None, None, None)
        )
        rows.append(
            Record(sample, score, p_value, reject, str(error or ""), inspection.inference_ms)
        )
        if verdict and mask is not None:
            pixels[sample.defect_type].add(verdict.heatmap, mask)
        if on_image:
            on_image(rows[-1], inspection, mask if sample.label else None)
    return _summarise(rows, pixels)


def _truth(sample: Sample, inspection: Inspection) -> tuple[Mask | None, ImageError | None]:
    """Give the mask of a judged image, empty for a good one, or why there is none."""
    if inspection.verdict is None or (sample.label and not sample.mask):
        return None, inspection.error
    shape = inspection.verdict.heatmap.shape
    if not sample.mask:
        return np.zeros(shape, bool), None
    try:
        mask = decode_mask(sample.mask)
    except ImageError as error:
        return None, error
    if mask.shape != shape:
        came, wanted = ("×".join(map(str, one)) for one in (mask.shape, shape))
        reason = f"the mask is {came}, its image {wanted}; save it in the image's size"
    elif mask.any() and not sample.label:
        reason = (
            f"marks {mask.sum()} pixels of an image that is said to be good; remove it or "
            "relabel the image"
        )
    elif not mask.any() and sample.label:
        reason = "marks nothing on an image that is said to be defective; draw it or remove it"
    else:
        return mask, None
    return None, ImageError(f"{sample.mask}: {reason}")


def _summarise(rows: list[Record], pixels: dict[str, PixelCounts]) -> Evaluation:
    judged = [row for row in rows if row.score is not None]
    kinds = np.array([row.sample.defect_type for row in judged], object)
    scores = np.array([row.score for row in judged], np.float64)
    rejected = np.array([row.reject for row in judged], bool)
    labels = np.array([row.sample.label for row in judged], np.int64)

    def figures(chosen: np.ndarray, names: Sequence[str]) -> dict[str, Metric]:
        tallies = [pixels[name] for name in names if name in pixels]
        return {
            **image_metrics(scores[chosen], labels[chosen], rejected[chosen]),
            **pixel_metrics(reduce(add, tallies) if tallies else PixelCounts()),
        }

    everything = figures(np.ones(len(judged), bool), list(pixels))
    by_kind = {}
    for kind in sorted(set(kinds) - {GOOD}):
        of_kind = figures(np.isin(kinds, [GOOD, kind]), [GOOD, kind])
        by_kind[kind] = {name: of_kind[name] for name in PER_TYPE_METRICS}
    return Evaluation(rows, everything, by_kind, confusion_counts(labels, rejected))
