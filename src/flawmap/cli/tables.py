"""Tables of metrics on the screen: of an evaluation, and of several products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Column, Table

from flawmap.cli.console import out
from flawmap.metrics.metric import Metric

_SUMMARY_METRICS = (
    "image AUROC",
    "F1 max",
    "F1 at the threshold",
    "pixel AUROC",
    "AUPRO",
)
"""The metrics that stand side by side for several products."""


def print_metrics(title: str, metrics: Mapping[str, Metric]) -> None:
    """Print metrics with their intervals; in place of one that is unavailable, the reason.

    Args:
        title: of the table.
        metrics: by name.
    """
    table = Table(title, "%", "95 % interval")
    for name, metric in metrics.items():
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
        values = [metrics[name].value for name in _SUMMARY_METRICS]
        table.add_row(product, *map(_percent, values))
    if means:
        averages = [
            _mean([metrics[name].value for metrics in products.values()])
            for name in _SUMMARY_METRICS
        ]
        table.add_section()
        table.add_row("mean", *map(_percent, averages))
    out.print(table)


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean of the values; None where one is missing, for the rest would have another meaning."""
    available = [value for value in values if value is not None]
    if not available or len(available) < len(values):
        return None
    return sum(available) / len(available)


def _percent(fraction: float | None) -> str:
    """A fraction in percent with two decimals; a dash where there is none."""
    return "–" if fraction is None else f"{100 * fraction:.2f}"
