"""What the page says of an inspector and of pictures that it judged: from what was found to `render.report`."""

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

import flawmap
from flawmap.data.splits import hash_of_all, sha256_of
from flawmap.evaluation import Evaluation
from flawmap.render.curves import draw_curves
from flawmap.render.report import Gallery, Report, Row
from flawmap.runtime import Runtime

NAMED = 3
"""Masks that the page names; of the others it says how many they are."""

Section = dict[str, str]


def of_evaluation(part: Path, runtime: Runtime, dataset: Path, evaluation: Evaluation, gallery: Gallery) -> Report:
    """Tell of pictures whose truth is known."""
    rows = [Row(str(row.sample.path), row.sample.kind, row.score, row.p_value, row.error) for row in evaluation.rows]
    milliseconds = [row.milliseconds for row in evaluation.rows if row.score is not None]
    masks = [row.error for row in evaluation.rows if row.error and row.score is not None]
    details = _details(part, runtime, milliseconds)
    details["Files"] |= {
        "data": str(dataset),
        "SHA-256 of them all": hash_of_all([row.sample for row in evaluation.rows]),
    }
    report = _report(part, runtime, rows, gallery, details)
    return replace(
        report,
        title=dataset.resolve().name,
        metrics=evaluation.metrics,
        kinds=evaluation.kinds,
        confusion=evaluation.confusion,
        warnings=[*report.warnings, *_say_masks(masks)],
    )


def of_inspections(part: Path, runtime: Runtime, records: Sequence[Mapping[str, Any]], gallery: Gallery) -> Report:
    """Tell of pictures whose truth is not known."""
    rows = [Row(record["path"], None, record["score"], record["p_value"], record["error"]) for record in records]
    milliseconds = [record["milliseconds"] for record in records if record["score"] is not None]
    report = _report(part, runtime, rows, gallery, _details(part, runtime, milliseconds))
    return replace(report, table="results.csv")


def _report(
    part: Path, runtime: Runtime, rows: Sequence[Row], gallery: Gallery, details: Mapping[str, Section]
) -> Report:
    calibration = runtime.calibration
    calibrated = f"calibrated on {len(calibration.scores)} good pictures"
    return Report(
        title=part.stem,
        subtitle=f"{runtime.name} · {calibrated} · {datetime.now():%Y-%m-%d %H:%M}",
        threshold=calibration.threshold,
        held_out=calibration.scores.tolist(),
        promises=calibration.promises(),
        rows=rows,
        gallery=gallery,
        metrics={},
        kinds={},
        confusion=None,
        details=details,
        warnings=calibration.warnings(),
        figures=_curves(runtime),
    )


def _curves(runtime: Runtime) -> dict[str, bytes]:
    if not runtime.tuning:
        return {}
    classes = ", ".join(f"{name} ({count})" for name, count in runtime.tuning["classes"].items())
    title = f"Fine-tuning of the backbone, {runtime.tuning['transfer']['mode']}: {classes}"
    return {title: draw_curves(runtime.tuning["history"])}


def _say_masks(errors: list[str]) -> list[str]:
    if not errors:
        return []
    more = f"; and {len(errors) - NAMED} more, see {Report.table}" if len(errors) > NAMED else ""
    named = "; ".join(errors[:NAMED])
    return [f"{len(errors)} masks cannot be used; their pictures count in no figure per pixel: {named}{more}."]


def _details(part: Path, runtime: Runtime, milliseconds: list[float]) -> dict[str, Section]:
    calibration, preparation = runtime.calibration, runtime.preparation
    settings = {
        "method": runtime.name,
        **dict(_flat(runtime.options)),
        "size": f"{preparation.height} × {preparation.width}",
        "budget of false rejects": f"{calibration.budget.false_rejects:.2%}",
        "confidence": f"{calibration.budget.confidence:.0%}" if calibration.budget.confidence else "on average",
        "calibration": "split" if calibration.exact else "leave-out",
    }
    tuning = {"Fine-tuning": dict(_flat(runtime.tuning["transfer"]))} if runtime.tuning else {}
    files = {
        "inspector": str(part),
        "SHA-256 of it": sha256_of(part),
        "weights": runtime.weights,
    }
    return {"Settings": settings, **tuning, "Files": files, "Timings": _timings(milliseconds), "Versions": _versions()}


def _timings(milliseconds: list[float]) -> Section:
    if not milliseconds:
        return {}
    median, late = np.percentile(milliseconds, [50, 95])
    return {
        "pictures judged": str(len(milliseconds)),
        "median": f"{median:.1f} ms a picture, from prepared to verdict",
        "95th percentile": f"{late:.1f} ms",
    }


def _versions() -> Section:
    libraries = {name: version(name) for name in ("openvino", "numpy")} | {"OpenCV": cv2.__version__}
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}"
    return {"flawmap": flawmap.__version__, "Python": platform.python_version(), **libraries, "machine": machine}


def _flat(options: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """List options with the parts' own ones: context.ratio."""
    flat = []
    for name, value in options.items():
        if isinstance(value, Mapping):
            flat.append((prefix + name, str(value["kind"])))
            flat += _flat({key: inner for key, inner in value.items() if key != "kind"}, f"{prefix}{name}.")
        else:
            flat.append((prefix + name, str(value)))
    return flat
