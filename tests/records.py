"""Records and inspections for the tests, without an inspector."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np

from flawmap.report.gallery import Gallery
from flawmap.runtime.inference import Inspection
from flawmap.runtime.record import Record
from flawmap.runtime.verdict import Verdict
from helpers import texture, with_defect

THRESHOLD = 2.0


def make_record(
    image: str, score: float | None, defect_type: str | None = None, **changes: Any
) -> Record:
    """A record of an image of 64 x 48 pixels; without a defect type its truth is not known."""
    truth: Literal["good", "defective"] | None = None
    if defect_type is not None:
        truth = "good" if defect_type == "good" else "defective"
    record = Record(
        image=image,
        image_width=64,
        image_height=48,
        image_sha256="0" * 64,
        method_name="patchcore",
        model_sha256="1" * 64,
        scorer_sha256="2" * 64,
        version="1.0",
        score=score,
        threshold=THRESHOLD,
        p_value=None if score is None else 0.25,
        verdict="undecided" if score is None else "reject" if score > THRESHOLD else "good",
        regions=(),
        overlay="",
        error="",
        inference_ms=8.46,
        inspected_at="2026-01-31T12:00:00.000Z",
        truth=truth,
        defect_type=defect_type,
    )
    return replace(record, **changes)


def make_verdict(score: float, shape: tuple[int, int] = (48, 64)) -> Verdict:
    """A verdict with one region of 4 rows and 8 columns."""
    heatmap = np.full(shape, 0.5, np.float32)
    heatmap[10:14, 20:28] += 0.8
    return Verdict(score, 0.25, score > THRESHOLD, heatmap)


def add_to_gallery(gallery: Gallery, image: str, defect_type: str | None, score: float) -> Record:
    """Add an image with one region, a defective one with its mask; its record."""
    verdict = make_verdict(score)
    record = make_record(image, score, defect_type, regions=tuple(verdict.regions()))
    pixels, mask = texture(0, 48, 64), None
    if record.truth == "defective":
        mask = np.zeros((48, 64), bool)
        mask[10:14, 20:28] = True
        pixels = with_defect(pixels, 12, 24, 3)
    gallery.add(record, Inspection(image, verdict, None, pixels, 8.46), mask)
    return record
