"""What the page says of an inspector and of images that it judged.

From what was found to `render.report`.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from flawmap._version import __version__
from flawmap.data.splits import dataset_sha256, sha256_of
from flawmap.evaluation import Evaluation
from flawmap.render.curves import plot_finetuning
from flawmap.report.gallery import Gallery
from flawmap.report.page import Record, ReportData
from flawmap.runtime.inference import Runtime

MAX_NAMED_MASKS = 3
"""Masks that the page names; of the others it says how many they are."""

Section = dict[str, str]


def from_evaluation(
    part: Path, runtime: Runtime, dataset: Path, evaluation: Evaluation, gallery: Gallery
) -> ReportData:
    """Tell of images whose truth is known."""
    rows = [
        Record(str(row.sample.path), row.sample.defect_type, row.score, row.p_value, row.error)
        for row in evaluation.records
    ]
    milliseconds = [row.inference_ms for row in evaluation.records if row.score is not None]
    masks = [row.error for row in evaluation.records if row.error and row.score is not None]
    details = _details(part, runtime, milliseconds)
    details["Files"] |= {
        "data": str(dataset),
        "SHA-256 of them all": dataset_sha256([row.sample for row in evaluation.records]),
    }
    report = _report(part, runtime, rows, gallery, details)
    return replace(
        report,
        title=dataset.resolve().name,
        metrics=evaluation.metrics,
        by_defect_type=evaluation.by_defect_type,
        confusion=evaluation.confusion,
        warnings=[*report.warnings, *_say_masks(masks)],
    )


def from_records(
    part: Path, runtime: Runtime, records: Sequence[Mapping[str, Any]], gallery: Gallery
) -> ReportData:
    """Tell of images whose truth is not known."""
    rows = [
        Record(record["path"], None, record["score"], record["p_value"], record["error"])
        for record in records
    ]
    milliseconds = [record["inference_ms"] for record in records if record["score"] is not None]
    report = _report(part, runtime, rows, gallery, _details(part, runtime, milliseconds))
    return replace(report, table="results.csv")


def _report(
    part: Path,
    runtime: Runtime,
    rows: Sequence[Record],
    gallery: Gallery,
    details: Mapping[str, Section],
) -> ReportData:
    calibration = runtime.calibration
    calibrated = f"calibrated on {len(calibration.scores)} good images"
    return ReportData(
        title=part.stem,
        subtitle=f"{runtime.method_name} · {calibrated} · {datetime.now():%Y-%m-%d %H:%M}",
        threshold=calibration.threshold,
        calibration_scores=calibration.scores.tolist(),
        guarantees=calibration.guarantees(),
        records=rows,
        gallery=gallery,
        metrics={},
        by_defect_type={},
        confusion=None,
        details=details,
        warnings=calibration.warnings(),
        figures=_curves(runtime),
    )


def _curves(runtime: Runtime) -> dict[str, bytes]:
    if not runtime.finetune_record:
        return {}
    classes = ", ".join(
        f"{name} ({count})" for name, count in runtime.finetune_record["classes"].items()
    )
    title = f"Fine-tuning of the backbone, {runtime.finetune_record['config']['mode']}: {classes}"
    return {title: plot_finetuning(runtime.finetune_record["history"])}


def _say_masks(errors: list[str]) -> list[str]:
    if not errors:
        return []
    more = (
        f"; and {len(errors) - MAX_NAMED_MASKS} more, see {ReportData.table}"
        if len(errors) > MAX_NAMED_MASKS
        else ""
    )
    named = "; ".join(errors[:MAX_NAMED_MASKS])
    return [
        f"{len(errors)} masks cannot be used; their images count in no figure per pixel: "
        f"{named}{more}."
    ]


def _details(part: Path, runtime: Runtime, milliseconds: list[float]) -> dict[str, Section]:
    calibration, preparation = runtime.calibration, runtime.preprocessing
    settings = {
        "method": runtime.method_name,
        **dict(_flat(runtime.method_options)),
        "size": f"{preparation.height} × {preparation.width}",
        "budget of false rejects": f"{calibration.budget.false_rejects:.2%}",
        "confidence": f"{calibration.budget.confidence:.0%}"
        if calibration.budget.confidence
        else "on average",
        "calibration": "split" if calibration.exact else "leave-out",
    }
    tuning = (
        {"Fine-tuning": dict(_flat(runtime.finetune_record["config"]))}
        if runtime.finetune_record
        else {}
    )
    files = {
        "inspector": str(part),
        "SHA-256 of it": sha256_of(part),
        "weights": runtime.weights_sha256,
    }
    return {
        "Settings": settings,
        **tuning,
        "Files": files,
        "Timings": _timings(milliseconds),
        "Versions": _versions(),
    }


def _timings(milliseconds: list[float]) -> Section:
    if not milliseconds:
        return {}
    median, late = np.percentile(milliseconds, [50, 95])
    return {
        "images judged": str(len(milliseconds)),
        "median": f"{median:.1f} ms an image, from prepared to verdict",
        "95th percentile": f"{late:.1f} ms",
    }


def _versions() -> Section:
    libraries = {name: version(name) for name in ("openvino", "numpy")} | {
        "OpenCV": cv2.__version__
    }
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}"
    return {
        "flawmap": __version__,
        "Python": platform.python_version(),
        **libraries,
        "machine": machine,
    }


def _flat(options: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """List options with the parts' own ones: context.ratio."""
    flat = []
    for name, value in options.items():
        if isinstance(value, Mapping):
            flat.append((prefix + name, str(value["type"])))
            flat += _flat(
                {key: inner for key, inner in value.items() if key != "type"}, f"{prefix}{name}."
            )
        else:
            flat.append((prefix + name, str(value)))
    return flat
