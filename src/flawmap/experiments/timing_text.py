"""Times of a table's lines as people read them, with the paper's own beside."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from flawmap.experiments import published
from flawmap.experiments.study import StudyConfig
from flawmap.experiments.table_text import TableText
from flawmap.experiments.tables import TableSpec
from flawmap.experiments.timing import TIMED_IMAGES, WARM_UP, LineTimings
from flawmap.support.tables import TableRow


def format_timing_table(
    table: TableSpec,
    study: StudyConfig,
    product: str,
    timings: Sequence[LineTimings],
    system: str,
) -> TableText:
    """The times of a table: median and, in brackets, 95th percentile of each section.

    Args:
        table: of the paper.
        study: what the runs have in common.
        product: name of the product whose images were timed.
        timings: of each line.
        system: the machine in words.
    """
    columns = ["", "bank"]
    columns += [f"{section} ms" for section in timings[0].image]
    columns += [f"{section} s" for section in timings[0].bank]
    columns += ["bank built s", "published: image s", "published: bank"]
    rows = []
    for line, timing in zip(table.lines, timings, strict=True):
        rows.append([line.label, *_cells(timing), *_published_cells(line.label, product)])
    notes = [
        f"Median (95th percentile) of {TIMED_IMAGES} images of {product} one at a time after "
        f"{WARM_UP} to warm up, all lines in turn; {system}; {study.size[0]}×{study.size[1]} px.",
        "whole is one graph from the preprocessed image to score and map; the sections before it "
        "are graphs of their own.",
        "published: on an RTX 4060 Laptop; what is counted in, and the unit of the bank's time, "
        "are not said.",
    ]
    return TableText(table.title, columns, rows, [*table.notes, *notes])


def _cells(timing: LineTimings) -> list[str]:
    vectors, channels = timing.size
    cells = [f"{vectors} × {channels}"]
    for median, late in timing.image.values():
        cells.append(f"{median:.2f} ({late:.2f})")
    cells += [f"{seconds:.1f}" for seconds in timing.bank.values()]
    return [*cells, f"{sum(timing.bank.values()):.1f}"]


def _published_cells(label: str, product: str) -> list[str]:
    """The paper's times for a product; their mean for one that it does not have."""
    by_product = published.TIMES.get(label)
    if by_product is None:
        return ["", ""]
    image_times, bank_times = zip(*by_product.values(), strict=True)
    image_s, bank = by_product.get(product, (fmean(image_times), fmean(bank_times)))
    return [f"{image_s:.3f}", f"{bank:.0f}"]


def timing_records(
    table: TableSpec, product: str, timings: Sequence[LineTimings]
) -> list[TableRow]:
    """The times line by line.

    Args:
        table: of the paper.
        product: name of the product whose images were timed.
        timings: of each line.
    """
    rows = []
    for line, timing in zip(table.lines, timings, strict=True):
        row: TableRow = {"line": line.label, "product": product}
        row["bank rows"], row["bank channels"] = timing.size
        for section, (median, late) in timing.image.items():
            row[f"{section} ms, median"] = round(median, 4)
            row[f"{section} ms, p95"] = round(late, 4)
        for section, seconds in timing.bank.items():
            row[f"{section} s"] = round(seconds, 3)
        rows.append(row)
    return rows
