"""One page about an inspector and the images it judged.

A single HTML file that opens from disk, without a network.

The page reads in this order: what came out, what another threshold would do, how good the scores
are, every image.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined

from flawmap.data.sample import GOOD
from flawmap.metrics.metric import Metric
from flawmap.render.heatmap import COLOUR_MAX, COLOUR_MIN, colourise
from flawmap.report.gallery import LISTED_REGIONS, Card, Gallery
from flawmap.report.script import page_script
from flawmap.support.atomic import atomic_write

OUTCOME_LABELS = {
    "missed": "missed",
    "false-reject": "false reject",
    "caught": "caught",
    "passed": "passed",
    "reject": "reject",
    "good": "good",
}
"""What can come of an image, and how the page says it.

The last two are for images whose truth is not known.
"""
_STOPS = 17


@dataclass(frozen=True)
class Record:
    """One image that was to be judged, in the gallery or not; without a score it could not be read.

    Args:
        path: of the image.
        kind: "good", a kind of defect, or None where the truth is not known.
        score: of its verdict.
        p_value: of its verdict.
        error: why it has none.
    """

    path: str
    defect_type: str | None
    score: float | None
    p_value: float | None
    error: str = ""


@dataclass(frozen=True)
class ReportData:
    """All that the page says.

    Args:
        title: the heading.
        subtitle: the line under it.
        threshold: the score beyond which a part is rejected.
        held_out: scores of the good images that it was calibrated on.
        promises: sentences on what the threshold promises.
        rows: every image.
        gallery: the images that are shown.
        metrics: figures by name.
        kinds: per kind of defect, the same figures for each.
        confusion: how many TP, FP, FN, TN; None without labels.
        details: sections of settings, hashes, timings.
        warnings: shown above everything else.
        table: the file that holds all scores.
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


def write_page(file: Path, report: ReportData) -> None:
    """Write the page.

    Raises:
        WriteError: there is no space or no permission.
    """
    with atomic_write(file) as stream:
        stream.write(render_page(report).encode())


def render_page(report: ReportData) -> str:
    """Make the page: HTML with its style, script, images and numbers inside."""
    script, style = page_script(), _asset("page.css").replace("TURBO", _turbo())
    cards = report.gallery.cards()
    judged = [row for row in report.records if _finite(row.score) is not None]
    page = _environment().from_string(_asset("page.html.j2"))
    text = page.render(
        report=report,
        style=style,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=_embed(_data(report, cards, judged)),
        cards=cards,
        folder=_common_folder([card.path for card in cards]),
        labelled=any(row.defect_type is not None for row in report.records),
        counts=Counter(
            _outcome(row.score, row.defect_type, report.threshold)
            for row in judged
            if row.score is not None
        ),
        shown=Counter(_outcome(card.score, card.defect_type, report.threshold) for card in cards),
        images=Counter(row.defect_type for row in judged),
        judged=len(judged),
        unreadable=[row for row in report.records if _finite(row.score) is None],
        labels=OUTCOME_LABELS,
        columns=list(next(iter(report.by_defect_type.values()), {})),
    )
    # A file name that is not text in this system's encoding holds surrogates, which UTF-8 has no
    # bytes for.
    return text.encode("utf-8", "replace").decode()


def _outcome(score: float, kind: str | None, threshold: float) -> str:
    reject = score > threshold
    if kind is None:
        return "reject" if reject else "good"
    if kind == GOOD:
        return "false-reject" if reject else "passed"
    return "caught" if reject else "missed"


def _data(report: ReportData, cards: Sequence[Card], judged: Sequence[Record]) -> dict[str, Any]:
    """Collect what the script needs; scores in full, since rounding would make and break ties."""
    return {
        "threshold": report.threshold,
        "calibrationScores": sorted(
            score for score in report.calibration_scores if math.isfinite(score)
        ),
        "scores": [[row.defect_type, row.score] for row in judged],
        "labels": OUTCOME_LABELS,
        "cards": [
            {
                **vars(card),
                "image": None,
                "overlay": None,
                "truth": None,
                "regions": card.regions[:LISTED_REGIONS],
            }
            | {"count": len(card.regions)}
            for card in cards
        ],
    }


def _embed(value: Any) -> str:
    """Write JSON that can stand inside a script element, whatever its strings hold."""
    text = json.dumps(
        _without_nan(value), ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_nan(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    return _finite(value) if isinstance(value, float) else value


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _split(path: str) -> tuple[str, str]:
    """Part a path after its last separator, whichever system it comes from."""
    cut = max(path.rfind("/"), path.rfind("\\")) + 1
    return path[:cut], path[cut:]


def _common_folder(paths: Sequence[str]) -> str:
    # Letter by letter, and then back to a separator: unlike commonpath, this reads the paths of any
    # system.
    return _split(os.path.commonprefix(paths))[0]  # noqa: RUF071


def _turbo() -> str:
    """Give the colours of the heat maps as the stops of a gradient."""
    colours = colourise(np.linspace(COLOUR_MIN, COLOUR_MAX, _STOPS, dtype=np.float32)[None])[0]
    return ", ".join(f"rgb({red} {green} {blue})" for red, green, blue in colours)


def _environment() -> Environment:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": _number, "percent": _percent, "split": _split, "uri": _uri}
    environment.globals |= {"outcome": _outcome}
    return environment


def _number(value: float | None, digits: int = 4) -> str:
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.0f}" if abs(value) >= 1e4 else f"{value:.{digits}g}"


def _percent(share: float, decimals: int = 2) -> str:
    return f"{100 * share:.{decimals}f}"


def _uri(data: bytes) -> str:
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _asset(name: str) -> str:
    return resources.files("flawmap.report").joinpath(name).read_text("utf-8")
