"""RESULTS.md, results.png and results.json."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from rivals.models import OURS, THEIRS, Row

TITLES = {
    "coreset": "Coreset",
    "fit": "Learning",
    "latency": "One image, from its file to score and map",
    "folder": "A folder",
    "start": "Start",
    "quality": "Quality",
}

FAIRNESS = """\
## What favours whom

- anomalib's maps stay at 224 × 224; flawmap's are brought to the image's own size. This favours
  anomalib in latency.
- In learning, anomalib loads images with one process a core instead of its 8; its batch of 32
  stays.
- flawmap scores its golden images whenever it is loaded, before the first verdict. This favours
  anomalib at start.
- anomalib sets no threshold here (`limit_val_batches=0`); flawmap judges every good image by a
  memory without it. This favours anomalib in learning. Its validation, image drawing and metrics
  are off everywhere.
- anomalib re-weights an image's score with 9 neighbours, its default; flawmap's `patchcore` takes
  the largest distance.
- anomalib's own OpenVINO export, for any batch, has a batch of two baked in at this size and then
  takes no single image. It is exported here for one image of any size, its usual way, and for one
  of 224 × 224 (`fixed`), resized by Pillow beforehand, as torchvision would. The last is also
  quantised to int8 its own way (`INT8_PTQ`, with good images to calibrate on); what is left in
  floats runs as its note says.
- anomalib's OpenVINO inferencer keeps compiled models in `openvino_cache`; the starts measured here
  find it filled.
- anomalib's memory for latency, folder and start is as many random rows of real embeddings, since
  its greedy choice takes long; the times do not depend on which rows. For quality, both choose
  their whole coreset.
- WRN-50-2 has the same random weights on both sides: times only.
- Peak memory is the system's `ru_maxrss` of the one process; anomalib's loading processes (one a
  core) are not counted.
"""


def describe_machine(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    """Say where this runs."""
    flags = set(_field("flags").split()) & {
        "avx2",
        "avx512f",
        "avx512_vnni",
        "avx512_bf16",
        "amx_bf16",
        "amx_int8",
    }
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": f"{_field('model name')}, {os.cpu_count()} cores; "
        f"{' '.join(sorted(flags)) or 'flags not told'}",
        "memory": f"{memory:.0f} GB",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        OURS: _said(ours),
        THEIRS: _said(theirs),
    }


def moment() -> str:
    """Say when it is, and how busy the machine."""
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, load {os.getloadavg()[0]:.1f}"


def _field(name: str) -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith(name)),
        platform.processor(),
    )


def _said(hello: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in hello["versions"].items())
    return f"{versions}; {hello['torch threads']} torch threads"


def read_rows(out: Path, without: Sequence[str]) -> list[Row]:
    """Read the rows of an earlier run, but for those of some parts."""
    file = out / "results.json"
    found = json.loads(file.read_text())["rows"] if file.exists() else []
    return [Row(**row) for row in found if row["part"] not in without]


def write(
    out: Path,
    rows: Sequence[Row],
    machine: dict[str, Any],
    command: str,
    left_out: Sequence[str] = (),
) -> None:
    """Write all three, and over the ones of a part before."""
    out.mkdir(parents=True, exist_ok=True)
    rows = sorted(rows, key=lambda row: list(TITLES).index(row.part))
    found = {"command": command, "machine": machine, "rows": [asdict(row) for row in rows]}
    (out / "results.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    lines = [
        "# flawmap beside anomalib",
        "",
        f"    {command}",
        "",
        "![](results.png)",
        "",
        "| | |",
        "|---|---|",
    ]
    lines += [f"| {name} | {value} |" for name, value in machine.items()]
    lines += [
        "",
        "Medians, with the quartiles; n is how many were measured. The last column is how many "
        "times better than",
    ]
    lines += [
        "anomalib's best of the same table (for quality, points more than it), and than its "
        "OpenVINO export where that"
    ]
    lines += [
        "is told to compute in f32. Each part is measured in one run, both sides in turn.",
        "",
    ]
    for part, of_part in groupby(rows, lambda row: row.part):
        alike = list(of_part)
        lines += [f"## {TITLES[part]}", "", f"Measured {alike[0].when}.", "", *_tables(alike)]
    (out / "RESULTS.md").write_text(
        "\n".join([*lines, FAIRNESS + "".join(f"- {one}.\n" for one in left_out)])
    )
    _plot(out / "results.png", rows)


def _tables(rows: list[Row]) -> list[str]:
    lines = []
    for (group, unit), alike in _grouped(rows):
        lines += [
            f"| {group} | {unit} | quartiles | n | × anomalib's best | × its OpenVINO, f32 |",
            "|---" * 6 + "|",
        ]
        lines += [_line(row, alike) for row in alike]
        lines += ["", *_notes(alike)]
    return lines


def _notes(alike: Sequence[Row]) -> list[str]:
    found: dict[tuple[str, str], list[str]] = {}
    for row in alike:
        if row.note:
            found.setdefault((row.side, row.note), []).append(row.variant)
    lines = [
        f"- {side}, {'; '.join(variants)}: {note}." for (side, note), variants in found.items()
    ]
    return [*lines, ""] if lines else []


def _grouped(rows: Sequence[Row]) -> list[tuple[tuple[str, str], list[Row]]]:
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.group, row.unit), []).append(row)
    return list(found.items())


def _line(row: Row, alike: Sequence[Row]) -> str:
    low, middle, high = spread(row.values)
    name = f"**{row.side}** {row.variant}" if row.side == OURS else f"{row.side} {row.variant}"
    quartiles = f"{_round(low)} – {_round(high)}" if len(row.values) > 1 else ""
    best, reference = (
        _beside(row, rivals)
        for rivals in ([r for r in alike if not r.apart], [r for r in alike if r.reference])
    )
    return f"| {name} | {_round(middle)} | {quartiles} | {len(row.values)} | {best} | {reference} |"


def _beside(row: Row, alike: Sequence[Row]) -> str:
    rivals = [spread(one.values)[1] for one in alike if one.side == THEIRS]
    if row.side == THEIRS or not rivals:
        return ""
    middle = spread(row.values)[1]
    if "AUROC" in row.unit:
        return f"{middle - max(rivals):+.2f}"
    return f"{middle / max(rivals) if row.more_is_better else min(rivals) / middle:.2f}"


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Give lower quartile, median and upper quartile."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def _round(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}" if value < 100 else f"{value:.1f}"


def _plot(file: Path, rows: Sequence[Row]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    groups = _grouped([row for row in rows if not row.apart])
    heights = [0.8 + 0.32 * len(alike) for _, alike in groups]
    size, shape = (9, sum(heights) + 0.5), {"height_ratios": heights}
    figure, axes = pyplot.subplots(len(groups), 1, figsize=size, gridspec_kw=shape, squeeze=False)
    for axis, ((group, unit), alike) in zip(axes[:, 0], groups, strict=True):
        _bars(axis, alike)
        title = f"{TITLES[alike[0].part]}: {group}, {unit}"
        place = {
            "xycoords": ("figure fraction", "axes fraction"),
            "xytext": (0, 8),
            "textcoords": "offset points",
        }
        axis.annotate(title, (0.01, 1), **place, fontsize=9, fontweight="bold")
    figure.tight_layout()
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


def _bars(axis: Any, alike: Sequence[Row]) -> None:
    low, middle, high = zip(*(spread(row.values) for row in alike), strict=True)
    errors = [
        [m - q for m, q in zip(middle, low, strict=True)],
        [q - m for m, q in zip(middle, high, strict=True)],
    ]
    colours = ["tab:green" if row.side == OURS else "tab:gray" for row in alike]
    names = [f"{row.side} {row.variant}" for row in alike]
    bars = axis.barh(range(len(alike)), middle, xerr=errors, color=colours, error_kw={"lw": 1})
    axis.bar_label(bars, [_round(one) for one in middle], padding=4, fontsize=8)
    axis.set_yticks(range(len(alike)), names, fontsize=8)
    axis.invert_yaxis()
    axis.set_xlim(0, 1.15 * max(high))
    axis.tick_params(axis="x", labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)
