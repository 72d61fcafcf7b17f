"""What the report page says of an inspector and of the images that it inspected."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from flawmap._version import __version__
from flawmap.data.sample import GOOD, Sample
from flawmap.data.splits import dataset_sha256
from flawmap.evaluation import Evaluation
from flawmap.metrics.metric import Metric
from flawmap.render.curves import plot_finetuning
from flawmap.report.gallery import Gallery
from flawmap.runtime.inference import Runtime
from flawmap.runtime.record import Record
from flawmap.support.flat import flatten

_MAX_NAMED_MASKS = 3
"""Masks that the page names; of the others it says how many they are."""

RANKED_BY_REGION = (
    "Images are ranked by the score of the region that decides, as a multiple of its threshold: "
    "above 1 is rejected."
)
"""What is said of the scores of images with regions."""

_Section = dict[str, str]


@dataclass(frozen=True)
class ReportData:
    """All that the page says.

    Args:
        title: heading of the page.
        subtitle: the line under the heading.
        threshold: score beyond which a part is rejected.
        calibration_scores: scores of the good images that the inspector was calibrated on.
        guarantees: sentences on what the threshold guarantees.
        records: every image, inspected or not.
        gallery: the images that are shown.
        metrics: by name.
        by_defect_type: the same metrics for each defect type.
        confusion: number of images that are TP, FP, FN, TN; None where the truth is not known.
        details: sections of settings, hashes and timings: texts by name, by the section's title.
        warnings: shown above everything else.
        table: name of the file that holds all scores.
        figures: PNG images by their title.
    """

    title: str
    subtitle: str
    threshold: float
    calibration_scores: Sequence[float]
    guarantees: Sequence[str]
    records: Sequence[Record]
    gallery: Gallery
    metrics: Mapping[str, Metric]
    by_defect_type: Mapping[str, Mapping[str, Metric]]
    confusion: Mapping[str, int] | None
    details: Mapping[str, Mapping[str, str]]
    warnings: Sequence[str] = ()
    table: str = "scores.csv"
    figures: Mapping[str, bytes] = field(default_factory=dict)


def from_evaluation(
    inspector: Path, runtime: Runtime, dataset: Path, evaluation: Evaluation, gallery: Gallery
) -> ReportData:
    """What the page says of images whose truth is known.

    Args:
        inspector: file of the inspector.
        runtime: the loaded inspector that inspected the images.
        dataset: folder or manifest of the test images, which gives the page its title.
        evaluation: of these images.
        gallery: the images that are shown.
    """
    report = from_records(inspector, runtime, evaluation.records, gallery)
    files = {
        **report.details["Files"],
        "data": str(dataset),
        "SHA-256 of all images": _dataset_sha256(evaluation.records),
    }
    return replace(
        report,
        title=dataset.resolve().name,
        metrics=evaluation.metrics,
        by_defect_type=evaluation.by_defect_type,
        confusion=evaluation.confusion,
        details={**report.details, "Files": files},
        warnings=[
            *report.warnings,
            *_mask_warnings(evaluation.records),
            *describe_counted(evaluation),
        ],
        table="scores.csv",
    )


def from_records(
    inspector: Path, runtime: Runtime, records: Sequence[Record], gallery: Gallery
) -> ReportData:
    """What the page says of images whose truth is not known.

    Args:
        inspector: file of the inspector, whose name gives the page its title.
        runtime: the loaded inspector that inspected the images.
        records: of all images.
        gallery: the images that are shown.
    """
    calibration = runtime.calibration
    calibrated = f"calibrated on {len(calibration.scores)} good images"
    return ReportData(
        title=inspector.stem,
        subtitle=f"{runtime.method_name} · {calibrated} · {datetime.now():%Y-%m-%d %H:%M}",
        threshold=calibration.threshold,
        calibration_scores=calibration.scores.tolist(),
        guarantees=[*calibration.guarantees(), *_ranking_note(runtime)],
        records=records,
        gallery=gallery,
        metrics={},
        by_defect_type={},
        confusion=None,
        details=_details(inspector, runtime, records),
        warnings=calibration.warnings(),
        table="results.csv",
        figures=_finetuning_figures(runtime),
    )


def describe_counted(evaluation: Evaluation) -> list[str]:
    """What a mask leaves out of an evaluation, in sentences; none where all counts.

    Args:
        evaluation: of images whose truth is known.
    """
    if evaluation.counted_share == 1 and not evaluation.hidden_defects:
        return []
    sentences = [
        f"A mask leaves out parts of the images: {evaluation.counted_share:.1%} of their pixels "
        "count in the metrics per pixel."
    ]
    if hidden := len(evaluation.hidden_defects):
        images = f"{hidden} defective image{'s' if hidden > 1 else ''}"
        sentences.append(
            f"The defect of {images} lies wholly where nothing counts: it cannot be found, and "
            "counts as missed in the metrics per image unless something else is rejected."
        )
    return sentences


def _ranking_note(runtime: Runtime) -> list[str]:
    """What scores on the page are where there are regions; nothing without."""
    return [RANKED_BY_REGION] if runtime.preprocessing.zones else []


def _dataset_sha256(records: Sequence[Record]) -> str:
    # The images were hashed as they were read.
    return dataset_sha256(
        [
            Sample(
                Path(record.image), "test", record.defect_type or GOOD, sha256=record.image_sha256
            )
            for record in records
        ]
    )


def _finetuning_figures(runtime: Runtime) -> dict[str, bytes]:
    record = runtime.finetune_record
    if record is None:
        return {}
    classes = ", ".join(f"{name} ({count})" for name, count in record["classes"].items())
    title = f"Fine-tuning of the backbone, {record['config']['mode']}: {classes}"
    return {title: plot_finetuning(record["history"])}


def _mask_warnings(records: Sequence[Record]) -> list[str]:
    errors = [record.error for record in records if record.error and record.score is not None]
    if not errors:
        return []
    listed = "; ".join(errors[:_MAX_NAMED_MASKS])
    if len(errors) > _MAX_NAMED_MASKS:
        listed += f"; and {len(errors) - _MAX_NAMED_MASKS} more, see scores.csv"
    unusable = f"{len(errors)} masks cannot be used; their images count in no metric per pixel"
    return [f"{unusable}: {listed}."]


def _details(inspector: Path, runtime: Runtime, records: Sequence[Record]) -> dict[str, _Section]:
    finetuning = {}
    if runtime.finetune_record is not None:
        finetuning = {"Fine-tuning": _flat(runtime.finetune_record["config"])}
    return {
        "Settings": _settings(runtime),
        **finetuning,
        "Files": {
            "inspector": str(inspector),
            "model SHA-256": runtime.model_sha256,
            "scorer SHA-256": runtime.scorer_sha256,
            "weights SHA-256": runtime.weights_sha256,
        },
        "Timings": _timings(records),
        "Versions": _versions(),
    }


def _settings(runtime: Runtime) -> _Section:
    preprocessing = runtime.preprocessing
    mask = preprocessing.mask
    budget = runtime.calibration.budget
    zones = preprocessing.zones
    budgets = {
        f"region {zone.name}": f"{zone.budget.false_rejects:.2%} false rejects"
        for zone in runtime.calibration.settings.zones
    }
    return {
        "method": runtime.method_name,
        **_flat(runtime.method_options),
        "size": f"{preprocessing.height} × {preprocessing.width}",
        "tiles": "no"
        if preprocessing.tile_overlap is None
        else f"{preprocessing.tile_overlap:.0%} overlapping",
        **({"mask": f"{mask.share:.1%} of an image count"} if mask else {}),
        **(budgets if zones else {"budget of false rejects": f"{budget.false_rejects:.2%}"}),
        "confidence": f"{budget.confidence:.0%}" if budget.confidence else "on average",
        "calibration": "split" if runtime.calibration.exact else "leave-out",
    }


def _timings(records: Sequence[Record]) -> _Section:
    elapsed_ms = [record.inference_ms for record in records if record.score is not None]
    if not elapsed_ms:
        return {}
    median, late = np.percentile(elapsed_ms, [50, 95])
    return {
        "images inspected": str(len(elapsed_ms)),
        "median": f"{median:.1f} ms an image, from preprocessed to verdict",
        "95th percentile": f"{late:.1f} ms",
    }


def _versions() -> _Section:
    return {
        "flawmap": __version__,
        "Python": platform.python_version(),
        "openvino": version("openvino"),
        "numpy": version("numpy"),
        "OpenCV": cv2.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
    }


def _flat(options: Mapping[str, Any]) -> _Section:
    """Options as texts, those of components under names such as `context.ratio`."""
    return {name: str(value) for name, value in flatten(options).items()}
