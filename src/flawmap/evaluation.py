"""How well an inspector does on pictures whose truth is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from flawmap.data.layouts import Sample
from flawmap.errors import PictureError
from flawmap.inspector import Inspection, Inspector
from flawmap.metrics.ranking import PixelTally, auroc, average_precision, best_f1, f1_of, trivial_f1
from flawmap.prepare import read_mask
from flawmap.progress import track


@dataclass(frozen=True)
class Row:
    """One picture of an evaluation: the truth, and the verdict or why there is none."""

    sample: Sample
    score: float | None
    p_value: float | None
    reject: bool | None
    error: str
    milliseconds: float


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Args:
        rows: a row per picture.
        metrics: figures in 0…1 by name, None where a figure cannot be had: with only one class, or no masks.
    """

    rows: list[Row]
    metrics: dict[str, float | None]


def evaluate(
    inspector: Inspector, samples: Sequence[Sample], *, seen: Callable[[Sample, Inspection], None] | None = None
) -> Evaluation:
    """Judge the pictures of `samples` and compare with the truth; `seen` is shown each as it comes.

    Pixel figures take the pictures that have a mask and the good ones, each in its own size. A picture or a mask that
    cannot be read has its row with the error and counts in no figure.
    """
    rows, pixels = [], PixelTally()
    inspections = track(inspector.inspect_each([sample.path for sample in samples]), "judging", len(samples))
    for sample, inspection in zip(samples, inspections, strict=True):
        if seen:
            seen(sample, inspection)
        error = inspection.error or _tally(pixels, sample, inspection)
        verdict = None if error else inspection.verdict
        score, p_value, reject = (verdict.score, verdict.p_value, verdict.reject) if verdict else (None, None, None)
        rows.append(Row(sample, score, p_value, reject, str(error or ""), inspection.milliseconds))
    return Evaluation(rows, {**image_metrics(rows), "pixel AUROC": pixels.auroc()})


def image_metrics(rows: Sequence[Row]) -> dict[str, float | None]:
    """Compute the figures per picture, with the defect share that each F1 must be read beside."""
    judged = [row for row in rows if row.score is not None]
    labels = np.array([row.sample.label for row in judged], np.int64)
    scores = np.array([row.score for row in judged], np.float64)
    rejected = np.array([row.reject for row in judged], bool)
    best = best_f1(scores, labels)
    return {
        "image AUROC": auroc(scores, labels),
        "image AP": average_precision(scores, labels),
        "F1 max": best.f1 if best else None,
        "F1 at the threshold": f1_of(rejected, labels),
        "F1 of rejecting all": trivial_f1(labels),
        "share of defects": float(labels.mean()) if len(labels) else None,
        "good parts rejected": _share(rejected[labels == 0]),
        "defects missed": _share(~rejected[labels == 1]),
    }


def _tally(pixels: PixelTally, sample: Sample, inspection: Inspection) -> PictureError | None:
    if inspection.verdict is None or (sample.label and not sample.mask):
        return None
    heatmap = inspection.verdict.heatmap
    try:
        mask = read_mask(sample.mask) if sample.label and sample.mask else np.zeros(heatmap.shape, bool)
    except PictureError as error:
        return error
    if mask.shape != heatmap.shape:
        came, wanted = ("×".join(map(str, shape)) for shape in (mask.shape, heatmap.shape))
        return PictureError(f"{sample.mask}: the mask is {came}, its picture {wanted}; save it in the picture's size")
    pixels.add(heatmap, mask)
    return None


def _share(chosen: np.ndarray) -> float | None:
    return float(chosen.mean()) if len(chosen) else None
