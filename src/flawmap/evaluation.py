"""How well an inspector does on images whose truth is known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Literal

import numpy as np

from flawmap.data.read_mask import read_mask
from flawmap.data.sample import GOOD, Sample
from flawmap.errors import ImageError
from flawmap.metrics.defects_found import OPERATING_POINTS, defects_found
from flawmap.metrics.images import confusion_counts, image_metrics
from flawmap.metrics.metric import Metric
from flawmap.metrics.pixels import PixelCounts, pixel_metrics
from flawmap.runtime.calibration import Calibration
from flawmap.runtime.image_types import Mask
from flawmap.runtime.inference import Inspection, Runtime
from flawmap.runtime.mask import Counting
from flawmap.runtime.record import Record
from flawmap.support.progress import track

_PER_TYPE_METRICS = (
    *(point.defects_found for point in OPERATING_POINTS),
    "image AUROC",
    "image AP",
    "F1 max",
    "F1 of rejecting all",
    "pixel AUROC",
    "AUPRO",
)
"""Metrics of each defect type, against all good images."""

_OnImage = Callable[[Record, Inspection, Mask | None], None]
"""Called with each image as it is inspected, and with its true mask where there is one."""


@dataclass(frozen=True)
class Evaluation:
    """What an inspector did on a labelled test set.

    Args:
        records: one per image, in the order of the samples. A mask that cannot be used is an error
            beside the verdict; the image then counts in no metric per pixel.
        metrics: by name, with their intervals, or with the reason why they are unavailable.
        by_defect_type: the same for each defect type, against all good images.
        confusion: number of images that are TP, FP, FN and TN at the threshold.
        counted_share: fraction of the pixels of the inspected images that count in metrics per
            pixel; 1 without a mask.
        hidden_defects: paths of defective images whose true defect lies wholly where nothing
            counts. They stay in all metrics per image: nobody can find them.
    """

    records: list[Record]
    metrics: dict[str, Metric]
    by_defect_type: dict[str, dict[str, Metric]]
    confusion: dict[str, int]
    counted_share: float = 1.0
    hidden_defects: Sequence[str] = ()


def evaluate(
    runtime: Runtime,
    samples: Sequence[Sample],
    *,
    min_area: int = 0,
    on_image: _OnImage | None = None,
) -> Evaluation:
    """Inspect labelled images and compare the verdicts with the truth.

    Metrics per pixel take the images that have a mask and the good ones, each in its own size, and
    of these the pixels that count for the inspector. Metrics per image rank by the score, and with
    zones by that of the one that decides as a multiple of its threshold. An image that cannot be
    read has a record with the error and counts in no metric.

    Args:
        runtime: a loaded inspector.
        samples: labelled images, with their masks where there are some.
        min_area: the records omit regions of fewer pixels; no metric changes.
        on_image: called with each image as soon as it is inspected.

    Example:
        >>> from flawmap import load                                          # doctest: +SKIP
        >>> from flawmap.data.layouts import labelled_test_samples
        >>> samples = labelled_test_samples(Path("data"))                     # doctest: +SKIP
        >>> evaluation = evaluate(load("part.flawmap"), samples)              # doctest: +SKIP
        >>> evaluation.metrics["image AUROC"].value                           # doctest: +SKIP
        0.97
    """
    records: list[Record] = []
    pixels: dict[str, PixelCounts] = defaultdict(PixelCounts)
    counted = _Counted()
    for sample, inspection in _inspect(runtime, samples):
        record = Record.from_inspection(inspection, runtime, min_area=min_area)
        record, mask = _with_truth(record, inspection, sample)
        records.append(record)
        if inspection.verdict and mask is not None:
            counting = inspection.verdict.counting
            pixels[sample.defect_type].add(inspection.verdict.heatmap, mask, counting)
            counted.add(record, mask, counting)
        if on_image:
            on_image(record, inspection, mask if sample.label else None)
    evaluation = _summarise(records, pixels, runtime.calibration)
    return replace(evaluation, counted_share=counted.share, hidden_defects=counted.hidden)


class _Counted:
    """How much of the images counts, and which defects are where nothing does."""

    def __init__(self) -> None:
        self.hidden: list[str] = []
        self._counted = self._pixels = 0

    def add(self, record: Record, mask: Mask, counting: Counting | None) -> None:
        self._pixels += mask.size
        self._counted += mask.size if counting is None else int(counting.sum())
        if counting is not None and mask.any() and not (mask & counting).any():
            self.hidden.append(record.image)

    @property
    def share(self) -> float:
        return self._counted / self._pixels if self._pixels else 1.0


def _inspect(runtime: Runtime, samples: Sequence[Sample]) -> Iterator[tuple[Sample, Inspection]]:
    inspections = runtime.inspect_many([sample.path for sample in samples])
    return zip(samples, track(inspections, "inspecting", len(samples)), strict=True)


def _with_truth(
    record: Record, inspection: Inspection, sample: Sample
) -> tuple[Record, Mask | None]:
    """The record with its truth, and the mask; that is empty for a good image, None without one."""
    truth: Literal["good", "defective"] = "defective" if sample.label else "good"
    record = replace(record, truth=truth, defect_type=sample.defect_type)
    if inspection.verdict is None or record.score is None:
        return record, None
    try:
        return record, _mask(sample, inspection.verdict.heatmap.shape)
    except ImageError as error:
        return replace(record, error=str(error)), None


def _mask(sample: Sample, shape: tuple[int, ...]) -> Mask | None:
    if sample.mask_problem:
        raise ImageError(sample.mask_problem)
    if sample.mask is None:
        return None if sample.label else np.zeros(shape, bool)
    mask = read_mask(sample.mask)
    if problem := _mask_problem(mask, sample, shape):
        raise ImageError(f"{sample.mask}: {problem}")
    return mask


def _mask_problem(mask: Mask, sample: Sample, shape: tuple[int, ...]) -> str:
    if mask.shape != shape:
        sizes = f"the mask is {_size_text(mask.shape)}, its image {_size_text(shape)}"
        return f"{sizes}; save it in the image's size"
    if mask.any() and not sample.label:
        marked = f"marks {mask.sum()} pixels of an image that is labelled good"
        return f"{marked}; remove it or relabel the image"
    if sample.label and not mask.any():
        return "marks nothing on an image that is labelled defective; draw it or remove it"
    return ""


def _size_text(shape: tuple[int, ...]) -> str:
    return "×".join(str(side) for side in shape)


class _Scores:
    """What the images that were inspected scored, as arrays over images."""

    def __init__(
        self,
        records: Sequence[Record],
        pixels: Mapping[str, PixelCounts],
        calibration: Calibration,
    ) -> None:
        inspected = [record for record in records if record.score is not None]
        self.types = np.array([record.defect_type for record in inspected], object)
        self.scores = np.array([record.ranking for record in inspected], np.float64)
        self.rejected = np.array([record.verdict == "reject" for record in inspected], bool)
        self.labels = np.array([record.truth == "defective" for record in inspected], np.int64)
        self.pixels = pixels
        self.calibration = calibration

    def metrics(self, types: Sequence[str]) -> dict[str, Metric]:
        included = np.isin(self.types, types)
        scores, labels = self.scores[included], self.labels[included]
        found = defects_found(scores, labels, self.calibration)
        images = image_metrics(scores, labels, self.rejected[included])
        counts = [self.pixels[name] for name in types if name in self.pixels]
        return found | images | pixel_metrics(reduce(add, counts) if counts else PixelCounts())


def _summarise(
    records: list[Record], pixels: Mapping[str, PixelCounts], calibration: Calibration
) -> Evaluation:
    scores = _Scores(records, pixels, calibration)
    types = sorted(set(scores.types))
    # In the order in which the types first occur: the intervals' resamples depend on it.
    all_types = [*pixels, *(name for name in types if name not in pixels)]
    by_defect_type = {}
    for name in types:
        if name != GOOD:
            metrics = scores.metrics([GOOD, name])
            by_defect_type[name] = {metric: metrics[metric] for metric in _PER_TYPE_METRICS}
    return Evaluation(
        records,
        scores.metrics(all_types),
        by_defect_type,
        confusion_counts(scores.labels, scores.rejected),
    )
