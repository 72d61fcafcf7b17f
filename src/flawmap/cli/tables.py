"""Tables of metrics on the screen: of an evaluation, and of several products."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.table import Column, Table

from flawmap.cli.console import on_one_line, out
from flawmap.data.sample import GOOD
from flawmap.metrics.defects_found import (
    OPERATING_POINTS,
    OperatingPoint,
    missing_reasons,
    without_operating_points,
)
from flawmap.metrics.metric import Metric

if TYPE_CHECKING:
    from flawmap.evaluation import Evaluation

_POINTS_LEGEND = (
    "calibrated: the threshold is set by the images that the inspector was calibrated on\n"
    "by rank: the threshold is set by the good images of this test; the good parts that it rejects "
    "are expected, not counted"
)

_SUMMARY_METRICS = {
    "found at 1 %": OperatingPoint(0.01, "calibrated").defects_found,
    "found at 5 %": OperatingPoint(0.05, "calibrated").defects_found,
    "image AUROC": "image AUROC",
    "F1 max": "F1 max",
    "pixel AUROC": "pixel AUROC",
    "AUPRO": "AUPRO",
}
"""The metrics that stand side by side for several products, by their headings."""


def print_defects_found(title: str, evaluation: Evaluation) -> None:
    """Print how many defects are found while 1 % or 5 % of the good parts may be rejected.

    A row for all of them, one for each defect type, and one for the good parts that this costs;
    below the table why a value is missing, where one is.

    Args:
        title: of the table.
        evaluation: of a labelled test set.
    """
    inspected = [record for record in evaluation.records if record.score is not None]
    images = Counter(record.defect_type for record in inspected)
    num_good = images[GOOD]
    heading = "Defects found, in %, where 1 % or 5 % of the good parts may be rejected"
    table = Table(on_one_line(title), *map(_point_column, OPERATING_POINTS), title=heading)
    for name, metrics in [("", evaluation.metrics), *evaluation.by_defect_type.items()]:
        found = [_value_above_interval(metrics[point.defects_found]) for point in OPERATING_POINTS]
        label = (
            f"  {name} ({images[name]})" if name else f"defects found ({len(inspected) - num_good})"
        )
        table.add_row(on_one_line(label), *found)
    table.add_section()
    rejects = [evaluation.metrics[point.false_rejects] for point in OPERATING_POINTS]
    table.add_row(f"good rejected ({num_good})", *map(_value_above_interval, rejects))
    out.print(table)
    for reason in missing_reasons(evaluation.metrics):
        out.print(f"– {reason}")
    out.print(_POINTS_LEGEND)


def print_metrics(title: str, metrics: Mapping[str, Metric]) -> None:
    """Print metrics with their intervals; in place of one that is unavailable, the reason.

    The share of defects found has a table of its own, `print_defects_found`.

    Args:
        title: of the table.
        metrics: by name.
    """
    table = Table(on_one_line(title), "%", "95 % interval")
    for name, metric in without_operating_points(metrics).items():
        interval = ""
        if metric.low is not None:
            interval = f"{_percent(metric.low)} – {_percent(metric.high)}"
        table.add_row(name, _percent(metric.value), metric.unavailable or interval)
    out.print(table)


def print_product_summary(
    products: Mapping[str, Mapping[str, Metric]], *, means: bool = True
) -> None:
    """Print the main metrics of each product.

    Args:
        products: metrics by name, by product.
        means: whether a line of means over the products follows.
    """
    table = Table(Column("%", no_wrap=True), *_SUMMARY_METRICS)
    for product, metrics in products.items():
        values = [metrics[name].value for name in _SUMMARY_METRICS.values()]
        table.add_row(on_one_line(product), *map(_percent, values))
    if means:
        averages = [
            _mean([metrics[name].value for metrics in products.values()])
            for name in _SUMMARY_METRICS.values()
        ]
        table.add_section()
        table.add_row("mean", *map(_percent, averages))
    out.print(table)
    for reason, names in _products_by_reason(products).items():
        out.print(f"– {on_one_line(', '.join(names))}: {reason}")


def _point_column(point: OperatingPoint) -> Column:
    return Column(f"{100 * point.budget:g} % {point.source}", justify="right")


def _value_above_interval(metric: Metric) -> str:
    if metric.value is None:
        return "–"
    if metric.low is None or metric.high is None:
        return f"{100 * metric.value:.1f}"
    return f"{100 * metric.value:.1f}\n{100 * metric.low:.1f} – {100 * metric.high:.1f}"


def _products_by_reason(products: Mapping[str, Mapping[str, Metric]]) -> dict[str, list[str]]:
    """Why cells of the summary hold a dash, and for which products."""
    by_reason: dict[str, list[str]] = {}
    for product, metrics in products.items():
        reasons = {metrics[name].unavailable: None for name in _SUMMARY_METRICS.values()}
        for reason in filter(None, reasons):
            by_reason.setdefault(reason, []).append(product)
    return by_reason


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean of the values; None where one is missing, for the rest would have another meaning."""
    available = [value for value in values if value is not None]
    if not available or len(available) < len(values):
        return None
    return sum(available) / len(available)


def _percent(fraction: float | None) -> str:
    """A fraction in percent with two decimals; a dash where there is none."""
    return "–" if fraction is None else f"{100 * fraction:.2f}"
