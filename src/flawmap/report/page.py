"""The report page: a single HTML file that opens from disk, without a network.

Its sections, from top to bottom: the outcome, the share of defects found, what another threshold
would do, metrics, images.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined

from flawmap.metrics.defects_found import (
    OPERATING_POINTS,
    OperatingPoint,
    missing_reasons,
    without_operating_points,
)
from flawmap.render.heatmap import COLOUR_MAX, COLOUR_MIN, colourise
from flawmap.report.data import ReportData
from flawmap.report.gallery import Card
from flawmap.report.script import page_script
from flawmap.runtime.record import Record
from flawmap.support.atomic import atomic_write
from flawmap.support.names import as_text

_OUTCOME_LABELS = {
    "missed": "missed",
    "false-reject": "false reject",
    "detected": "detected",
    "accepted": "accepted",
    "reject": "reject",
    "good": "good",
}
"""The outcomes of an image and their names on the page; the last two where no truth is known."""

_MAX_LISTED_REGIONS = 100
"""Regions of one image that the page lists, the most anomalous first."""

_COLOUR_STOPS = 17


def write_page(file: Path, report: ReportData) -> None:
    """Write the page; an old one stays until the new one is complete.

    Args:
        file: to be written or replaced.
        report: what the page says.

    Raises:
        WriteError: there is no space or no permission.
    """
    with atomic_write(file) as stream:
        stream.write(render_page(report).encode())


def render_page(report: ReportData) -> str:
    """The page as HTML, with its style, script, images and numbers inside.

    Args:
        report: what the page says.
    """
    script = page_script()
    cards = report.gallery.cards()
    inspected = [record for record in report.records if record.score is not None]
    text = (
        _environment()
        .from_string(_asset("page.html.j2"))
        .render(
            report=report,
            style=_asset("page.css").replace("TURBO", _turbo()),
            script=script,
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            data=_embed(_data(report, cards, inspected)),
            cards=cards,
            folder=_common_folder([card.record.image for card in cards]),
            labelled=any(record.truth is not None for record in report.records),
            counts=Counter(_outcome(record) for record in inspected),
            shown=Counter(_outcome(card.record) for card in cards),
            images=Counter(record.defect_type for record in inspected),
            inspected=len(inspected),
            unreadable=[record for record in report.records if record.score is None],
            labels=_OUTCOME_LABELS,
            columns=list(without_operating_points(next(iter(report.by_defect_type.values()), {}))),
            other_metrics=without_operating_points(report.metrics),
            points=_operating_points(report),
            missing_reasons=missing_reasons(report.metrics),
        )
    )
    # A file name that is not text in this system's encoding holds surrogates, which UTF-8 has no
    # bytes for.
    return as_text(text).encode("utf-8", "replace").decode()


def _operating_points(report: ReportData) -> list[OperatingPoint]:
    """Those that the table of defects found has; none where the truth is not known."""
    return [point for point in OPERATING_POINTS if point.defects_found in report.metrics]


def _outcome(record: Record) -> str:
    is_rejected = record.verdict == "reject"
    if record.truth is None:
        return "reject" if is_rejected else "good"
    if record.truth == "good":
        return "false-reject" if is_rejected else "accepted"
    return "detected" if is_rejected else "missed"


def _data(report: ReportData, cards: Sequence[Card], inspected: Sequence[Record]) -> dict[str, Any]:
    """What the script needs; scores in full, since rounding would make and break ties."""
    return {
        "threshold": report.threshold,
        "calibrationScores": sorted(filter(math.isfinite, report.calibration_scores)),
        "scores": [[record.defect_type, record.ranking] for record in inspected],
        "labels": _OUTCOME_LABELS,
        "cards": [_card_data(card.record) for card in cards],
    }


def _card_data(record: Record) -> dict[str, Any]:
    names = ("image", "image_width", "image_height", "defect_type", "p_value")
    values = {name: getattr(record, name) for name in names} | {"score": record.ranking}
    regions = [region.to_dict() for region in record.regions[:_MAX_LISTED_REGIONS]]
    for region in regions:
        del region["outline"]
    return values | {"region_count": len(record.regions), "regions": regions}


def _embed(value: Any) -> str:
    """JSON that can stand inside a script element, whatever its strings hold."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _split_path(path: str) -> tuple[str, str]:
    """A path before and after its last separator, whichever system it comes from."""
    end = max(path.rfind("/"), path.rfind("\\")) + 1
    return path[:end], path[end:]


def _common_folder(paths: Sequence[str]) -> str:
    # Letter by letter, and then back to a separator: unlike commonpath, this reads the paths of any
    # system.
    return _split_path(os.path.commonprefix(paths))[0]  # noqa: RUF071


def _turbo() -> str:
    """The colours of the heat maps as the stops of a CSS gradient."""
    values = np.linspace(COLOUR_MIN, COLOUR_MAX, _COLOUR_STOPS, dtype=np.float32)
    colours = colourise(values[None])[0]
    return ", ".join(f"rgb({red} {green} {blue})" for red, green, blue in colours)


def _environment() -> Environment:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    filters = {"number": _number, "percent": _percent, "split": _split_path, "uri": _uri}
    environment.filters |= filters
    environment.globals["outcome"] = _outcome
    return environment


def _number(value: float, digits: int = 4) -> str:
    return f"{value:.0f}" if abs(value) >= 1e4 else f"{value:.{digits}g}"


def _percent(fraction: float, decimals: int = 2) -> str:
    return f"{100 * fraction:.{decimals}f}"


def _uri(data: bytes) -> str:
    image_type = "png" if data.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{image_type};base64,{base64.b64encode(data).decode()}"


def _asset(name: str) -> str:
    return resources.files("flawmap.report").joinpath(name).read_text("utf-8")
