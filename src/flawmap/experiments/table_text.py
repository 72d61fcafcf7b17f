"""A table as people read it: on the screen, as Markdown, LaTeX, and one run per row as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from flawmap.experiments.line_metrics import LineMetrics, ResultsByLine
from flawmap.experiments.published import MEAN
from flawmap.experiments.runs import RunResult
from flawmap.experiments.study import StudyConfig
from flawmap.experiments.tables import TableLine, TableSpec
from flawmap.finetune.config import FineTuneConfig
from flawmap.methods import METHODS
from flawmap.support.atomic import atomic_write
from flawmap.support.names import as_text, with_suffix
from flawmap.support.tables import TableRow, write_csv
from flawmap.support.targets import check_file_target

_MISSING = "not here yet"
"""Stands in place of a method that this flawmap lacks."""

_PREVALENCE = "defect prevalence"
_REJECT_ALL_F1 = "F1 of rejecting all"

_PRIVATE = (
    "published: Li et al. 2025, on their private images; compare how lines differ, not by how much."
)


@dataclass(frozen=True)
class TableText:
    """A table of cells as text.

    Args:
        title: what it compares.
        columns: the headings, that of the labels first.
        rows: the cells of each line, its label first.
        notes: a sentence each.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str]


def format_table(table: TableSpec, study: StudyConfig, results: ResultsByLine) -> TableText:
    """The metrics of a table in percent, mean ± standard deviation over seeds.

    Args:
        table: of the paper.
        study: what the runs have in common.
        results: of the runs that were measured.
    """
    products = list(study.products)
    lines = [LineMetrics(index, products, results) for index in range(len(table.lines))]
    labels = [line.label for line in table.lines]
    baseline = lines[labels.index(table.baseline)] if table.baseline in labels else None
    rows = []
    for line, metrics in zip(table.lines, lines, strict=True):
        cells = metrics.cells(_groups(products).values(), baseline)
        if line.setup.method not in METHODS:
            cells = [_MISSING for _ in cells]
        rows.append([line.label, *cells, *_published_cells(table, line)])
    notes = [*table.notes, *_notes(table, study, results)]
    return TableText(table.title, _columns(products, table.baseline), rows, notes)


def _groups(products: Sequence[str]) -> dict[str, Sequence[str]]:
    """What a pair of columns is about: each product, and all of them where there are several."""
    groups: dict[str, Sequence[str]] = {product: [product] for product in products}
    if len(products) > 1:
        groups[MEAN] = products
    return groups


def _columns(products: Sequence[str], baseline: str) -> list[str]:
    columns = [""]
    for name in _groups(products):
        columns += [f"{name} AUROC", f"{name} F1 max"]
    columns += ["F1 at 1 %", "found at 5 %"]
    if baseline:
        columns.append(f"over {baseline}")
    return [*columns, "published AUROC", "published F1"]


def _published_cells(table: TableSpec, line: TableLine) -> list[str]:
    published = table.published.get(line.label, {}).get(MEAN)
    return [f"{published.auroc:.2f}", f"{published.f1:.2f}"] if published else ["", ""]


def _notes(table: TableSpec, study: StudyConfig, results: ResultsByLine) -> list[str]:
    notes = []
    for product in study.products:
        of_product = [result for (name, *_), result in results.items() if name == product]
        measured = [result for result in of_product if not result.error]
        if measured:
            notes.append(_product_note(product, measured[0]))
    notes.append(_seeds_note(table, list(study.products), results))
    if any(line.setup.finetuned for line in table.lines):
        notes.append(_finetune_note(study.finetune))
    if table.published:
        notes.append(_PRIVATE)
    missing = [line.label for line in table.lines if line.setup.method not in METHODS]
    if missing:
        notes.append(f"{', '.join(missing)}: {_MISSING}.")
    errors = {
        f"{table.lines[index].label}: {result.error}"
        for (_, index, _), result in results.items()
        if result.error
    }
    return notes + sorted(errors)


def _product_note(product: str, result: RunResult) -> str:
    """How many images there were, how many of them defective, and what could not be measured."""
    num_good, num_inspected = result.images
    clauses = [f"{product}: fitted to {num_good} good images, {num_inspected} inspected"]
    prevalence = result.metrics[_PREVALENCE].value
    if prevalence is not None:
        clauses[0] += f", {100 * prevalence:.2f} % of them defective"
    reject_all = result.metrics[_REJECT_ALL_F1].value
    if reject_all is not None:
        clauses.append(f"rejecting all of them has an F1 of {100 * reject_all:.2f}")
    reasons = {metric.unavailable for metric in result.metrics.values() if metric.unavailable}
    if reasons:
        clauses.append(", ".join(sorted(reasons)))
    if result.unreadable:
        clauses.append(f"{result.unreadable} images could not be used")
    return "; ".join(clauses) + "."


def _finetune_note(config: FineTuneConfig) -> str:
    statistics = "frozen" if config.batch_norm == "frozen" else "of each batch"
    return (
        f"TL: fine-tuned with {config.mode} classes, {config.epochs} epochs at learning rate "
        f"{config.learning_rate:g}, {config.frozen_stages} stages frozen, batch-norm statistics "
        f"{statistics}."
    )


def _seeds_note(table: TableSpec, products: Sequence[str], results: ResultsByLine) -> str:
    """Over how many seeds each line was measured: the largest number, then who has fewer."""
    names_by_count: dict[int, list[str]] = {}
    for index, line in enumerate(table.lines):
        if line.setup.method not in METHODS:
            continue
        counts = {}
        for product in products:
            counts[product] = sum(key[:2] == (product, index) for key in results)
        if len(set(counts.values())) == 1:
            names_by_count.setdefault(counts[products[0]], []).append(line.label)
            continue
        for product, count in counts.items():
            names_by_count.setdefault(count, []).append(f"{line.label} on {product}")
    largest, *smaller = sorted(names_by_count, reverse=True)
    clauses = [f"Seeds: {largest}"]
    clauses += [f"{count} for {', '.join(names_by_count[count])}" for count in smaller]
    return "; ".join(clauses) + "."


def result_records(table: TableSpec, results: ResultsByLine) -> list[TableRow]:
    """The results one by one, with every metric and what the paper prints, in percent.

    Args:
        table: of the paper.
        results: of the runs that were measured.

    Returns:
        A row per run, all with the same columns.
    """
    rows = []
    for (product, index, seed), result in results.items():
        label = table.lines[index].label
        published = table.published.get(label, {})
        figures = published.get(product, published.get(MEAN))
        row: TableRow = {"line": label, "product": product, "seed": seed}
        for name, metric in result.metrics.items():
            row[name] = None if metric.value is None else round(100 * metric.value, 4)
        row["published AUROC"] = figures.auroc if figures else None
        row["published F1"] = figures.f1 if figures else None
        row["seconds"] = round(result.seconds, 1)
        row["error"] = result.error
        row["run"] = result.key
        rows.append(row)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return [{name: row.get(name) for name in columns} for row in rows]


_SUFFIXES = (".md", ".tex", ".csv")
"""End the names of a table's files."""


def check_table_target(stem: Path) -> None:
    """Nothing, where a table can be written.

    Args:
        stem: path of the files without their suffix.

    Raises:
        WriteError: it cannot be.
    """
    for suffix in _SUFFIXES:
        check_file_target(with_suffix(stem, suffix))


def write_table(
    stem: Path, text: TableText, records: Sequence[dict[str, Any]], command: str
) -> list[Path]:
    """Write a table as Markdown, LaTeX and CSV.

    Args:
        stem: path of the files without their suffix.
        text: for Markdown and LaTeX.
        records: rows of the CSV.
        command: what was typed to measure the table; stands above it.

    Returns:
        The files: `.md`, `.tex`, `.csv`.

    Raises:
        WriteError: the folder cannot be written.
    """
    markdown = tabulate(text.rows, text.columns, tablefmt="github", disable_numparse=True)
    latex = tabulate(text.rows, text.columns, tablefmt="latex_booktabs", disable_numparse=True)
    notes = "".join(f"- {note}\n" for note in text.notes)
    contents = {
        ".md": f"# {text.title}\n\n`{command}`\n\n{markdown}\n\n{notes}",
        ".tex": f"% {text.title}\n% {command}\n{latex}\n",
    }
    for suffix, content in contents.items():
        with atomic_write(with_suffix(stem, suffix)) as stream:
            stream.write(as_text(content).encode())
    write_csv(with_suffix(stem, ".csv"), records)
    return [with_suffix(stem, suffix) for suffix in _SUFFIXES]
