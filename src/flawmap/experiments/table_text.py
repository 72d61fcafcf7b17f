"""A table's rows as people read them: on the screen, in Markdown, in LaTeX.

And one by one in a CSV file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from flawmap.experiments import published
from flawmap.experiments.published import MEAN, Published
from flawmap.experiments.runs import RunResult, StudyConfig
from flawmap.experiments.tables import TableSpec
from flawmap.experiments.timing import (
    BANK_SECTIONS,
    IMAGE_SECTIONS,
    TIMED_IMAGES,
    WARM_UP,
    LineTimings,
)
from flawmap.methods import METHODS
from flawmap.metrics.images import REJECT_ALL_F1
from flawmap.support.atomic import atomic_write
from flawmap.support.tables import write_csv

AUROC, F1, F1_SET = "image AUROC", "F1 max", "F1 at the threshold"

ResultsByLine = Mapping[tuple[str, int, int], RunResult]
"""By product, place of the line in its table, and seed."""

ABSENT = "not here yet"
FAILED = "failed"
PRIVATE = "published: Li et al. 2025, on their private images; to be compared in kind, not in size."


@dataclass(frozen=True)
class TableText:
    """A table to show.

    Args:
        title: what it compares.
        columns: their heads.
        rows: cells as text, a label first.
        notes: a sentence each.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str]


def format_table(table: TableSpec, study: StudyConfig, rows: ResultsByLine) -> TableText:
    """Lay out the figures of a table: percent, mean ± standard deviation over seeds.

    Of a single seed the 95 % interval over the test images stands in brackets.
    """
    products = list(study.products)
    several = [MEAN] if len(products) > 1 else []
    columns = [
        "",
        *(f"{name} {short}" for name in products + several for short in ("AUROC", "F1 max")),
    ]
    columns += [
        "F1 at 1 %",
        *([f"over {table.baseline}"] if table.baseline else []),
        "published AUROC",
        "published F1",
    ]
    figures = [LineMetrics(place, products, rows) for place in range(len(table.lines))]
    first = next(
        (
            one
            for one, line in zip(figures, table.lines, strict=True)
            if line.label == table.baseline
        ),
        None,
    )
    cells = []
    for line, own in zip(table.lines, figures, strict=True):
        shown = [own.format_metric(name, [product]) for product in products for name in (AUROC, F1)]
        shown += [own.format_metric(name, products) for _ in several for name in (AUROC, F1)] + [
            own.format_metric(F1_SET, products)
        ]
        shown += [own.format_difference(first)] if first else []
        known = table.published.get(line.label, {}).get(MEAN)
        cells.append(
            [
                line.label,
                *(shown if line.setup.method in METHODS else [ABSENT] * len(shown)),
                *_say(known),
            ]
        )
    return TableText(table.title, columns, cells, [*table.notes, *_notes(table, study, rows)])


class LineMetrics:
    """The figures of one line."""

    def __init__(self, place: int, products: Sequence[str], rows: ResultsByLine) -> None:
        self.products = products
        self.rows = {
            (product, seed): row for (product, line, seed), row in rows.items() if line == place
        }

    def values(self, name: str, products: Sequence[str]) -> list[float]:
        """Give a figure's mean over products for each seed, in percent.

        None where one is missing.
        """
        found = []
        for seed in sorted({seed for _, seed in self.rows}):
            of_seed = [
                self.rows[product, seed].metrics.get(name)
                for product in products
                if (product, seed) in self.rows
            ]
            there = [
                metric.value
                for metric in of_seed
                if metric is not None and metric.value is not None
            ]
            if len(there) == len(products):
                found.append(100 * fmean(there))
        return found

    def format_metric(self, name: str, products: Sequence[str]) -> str:
        """Say a figure in words; where it failed or cannot be had, that."""
        values = self.values(name, products)
        mine = [row for (product, _), row in self.rows.items() if product in products]
        if not values or any(row.error for row in mine):
            return FAILED if any(row.error for row in mine) else "–"
        if len(values) > 1:
            return f"{fmean(values):.2f} ± {stdev(values):.2f}"
        metric = mine[0].metrics[name]
        if len(products) > 1 or metric.low is None or metric.high is None:
            return f"{values[0]:.2f}"
        return f"{values[0]:.2f} ({100 * metric.low:.1f}–{100 * metric.high:.1f})"

    def format_difference(self, other: LineMetrics) -> str:
        """Say by how many points AUROC and F1 are above another line's."""
        pairs = [
            (self.values(name, self.products), other.values(name, self.products))
            for name in (AUROC, F1)
        ]
        if not all(own and its for own, its in pairs):
            return "–"
        return " / ".join(f"{fmean(own) - fmean(its):+.2f}" for own, its in pairs)


def result_records(table: TableSpec, rows: ResultsByLine) -> list[dict[str, Any]]:
    """List the rows one by one, with every figure and what the paper prints, in percent."""
    found = []
    for (product, place, seed), row in rows.items():
        line = table.lines[place]
        known = table.published.get(line.label, {})
        auroc, f1 = known.get(product, known.get(MEAN)) or (None, None)
        record = {"line": line.label, "product": product, "seed": seed}
        record |= {name: _percent(metric.value) for name, metric in row.metrics.items()}
        record |= {
            "published AUROC": auroc,
            "published F1": f1,
            "seconds": round(row.seconds, 1),
            "error": row.error,
        }
        found.append(record | {"row": row.key})
    columns = list(dict.fromkeys(name for record in found for name in record))
    return [{name: record.get(name) for name in columns} for record in found]


def write_table(
    stem: Path, sheet: TableText, rows: Sequence[dict[str, Any]], command: str
) -> list[Path]:
    """Write `stem`.md, .tex and .csv; gives their names."""
    from tabulate import tabulate

    markdown = tabulate(sheet.rows, sheet.columns, tablefmt="github", disable_numparse=True)
    latex = tabulate(sheet.rows, sheet.columns, tablefmt="latex_booktabs", disable_numparse=True)
    notes = "".join(f"- {note}\n" for note in sheet.notes)
    texts = {
        ".md": f"# {sheet.title}\n\n`{command}`\n\n{markdown}\n\n{notes}",
        ".tex": f"% {sheet.title}\n% {command}\n{latex}\n",
    }
    for suffix, text in texts.items():
        with atomic_write(stem.with_suffix(suffix)) as stream:
            stream.write(text.encode())
    write_csv(stem.with_suffix(".csv"), rows)
    return [stem.with_suffix(suffix) for suffix in (*texts, ".csv")]


def _notes(table: TableSpec, study: StudyConfig, rows: ResultsByLine) -> list[str]:
    notes = []
    for product in study.products:
        of_one = [row for (name, *_), row in rows.items() if name == product and not row.error]
        if of_one:
            notes.append(_about(product, of_one[0]))
    notes.append(_count(table, list(study.products), rows))
    transfer = study.finetune
    if any(line.setup.finetuned for line in table.lines):
        notes.append(
            f"TL: {transfer.mode}, {transfer.epochs} epochs at {transfer.learning_rate:g}, "
            f"{transfer.frozen_stages} stages frozen, "
            f"batch-norm statistics "
            f"{'kept' if transfer.batch_norm == 'frozen' else 'of each batch'}."
        )
    if table.published:
        notes.append(PRIVATE)
    missing = [line.label for line in table.lines if line.setup.method not in METHODS]
    notes += [f"{', '.join(missing)}: {ABSENT}."] if missing else []
    failed = {
        (table.lines[place].label, row.error) for (_, place, _), row in rows.items() if row.error
    }
    return notes + [f"{label}: {error}" for label, error in sorted(failed)]


def _count(table: TableSpec, products: Sequence[str], rows: ResultsByLine) -> str:
    """Say over how many seeds each line was measured."""
    by_count: dict[int, list[str]] = {}
    for place, line in enumerate(table.lines):
        if line.setup.method in METHODS:
            counts = {
                product: sum((name, at) == (product, place) for name, at, _ in rows)
                for product in products
            }
            if len(set(counts.values())) == 1:
                named = {line.label: counts[products[0]]}
            else:
                named = {f"{line.label} on {product}": count for product, count in counts.items()}
            for name, count in named.items():
                by_count.setdefault(count, []).append(name)
    most, *others = sorted(by_count, reverse=True)
    return (
        "; ".join(
            [f"Seeds: {most}", *(f"{count} for {', '.join(by_count[count])}" for count in others)]
        )
        + "."
    )


def _about(product: str, row: RunResult) -> str:
    taught, judged = row.images
    share, trivial = row.metrics["defect prevalence"], row.metrics[REJECT_ALL_F1]
    said = f"{product}: {taught} good images taught, {judged} judged"
    if share.value is not None:
        said += f", {100 * share.value:.2f} % of them defective"
    if trivial.value is not None:
        said += f"; rejecting all of them has an F1 of {100 * trivial.value:.2f}"
    absent = sorted({metric.unavailable for metric in row.metrics.values() if metric.unavailable})
    said += f"; {', '.join(absent)}" if absent else ""
    return said + (f"; {row.unreadable} images could not be used." if row.unreadable else ".")


def _say(known: Published | None) -> list[str]:
    return [f"{known.auroc:.2f}", f"{known.f1:.2f}"] if known else ["", ""]


def _percent(value: float | None) -> float | None:
    return None if value is None else round(100 * value, 4)


def format_timing_table(
    table: TableSpec, study: StudyConfig, product: str, times: Sequence[LineTimings], machine: str
) -> TableText:
    """Lay out the times of a table, with the paper's own in seconds."""
    columns = [
        "",
        "bank",
        *(f"{part} ms" for part in IMAGE_SECTIONS),
        *(f"{part} s" for part in BANK_SECTIONS),
        "bank built s",
    ]
    columns += ["published: image s", "published: bank"]
    rows = []
    for line, one in zip(table.lines, times, strict=True):
        parts = [
            f"{median:.2f} ({late:.2f})"
            for median, late in (one.image[part] for part in IMAGE_SECTIONS)
        ]
        bank = [f"{one.bank[part]:.1f}" for part in BANK_SECTIONS]
        known = published.TABLE_2.get(line.label, {})
        shown = known.get(product) or tuple(
            fmean(each) for each in zip(*known.values(), strict=True)
        )
        said = [f"{shown[0]:.3f}", f"{shown[1]:.0f}"] if shown else ["", ""]
        rows.append(
            [
                line.label,
                f"{one.size[0]} × {one.size[1]}",
                *parts,
                *bank,
                f"{sum(one.bank.values()):.1f}",
                *said,
            ]
        )
    images = (
        f"{TIMED_IMAGES} images of {product} one at a time after {WARM_UP} to warm up, all "
        "lines in turn"
    )
    notes = [
        f"Median (95th percentile) of {images}; {machine}; {study.size[0]}×{study.size[1]} px.",
        "whole is one graph from the prepared image to score and map; the parts before it are "
        "graphs of their own.",
        "published: on an RTX 4060 Laptop; what is counted in, and the unit of the bank's time, "
        "are not said.",
    ]
    return TableText(table.title, columns, rows, [*table.notes, *notes])


def timing_records(
    table: TableSpec, product: str, times: Sequence[LineTimings]
) -> list[dict[str, Any]]:
    """List the times one by one."""
    found = []
    for line, one in zip(table.lines, times, strict=True):
        record = {
            "line": line.label,
            "product": product,
            "bank rows": one.size[0],
            "bank channels": one.size[1],
        }
        for part, (median, late) in one.image.items():
            record |= {f"{part} ms, median": round(median, 4), f"{part} ms, p95": round(late, 4)}
        found.append(
            record | {f"{part} s": round(seconds, 3) for part, seconds in one.bank.items()}
        )
    return found
