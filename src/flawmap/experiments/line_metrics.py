"""The metrics of one line of a table, over its products and seeds, as text in percent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev

from flawmap.experiments.runs import RunKey, RunResult
from flawmap.metrics.defects_found import OperatingPoint

_AUROC = "image AUROC"
_F1 = "F1 max"
_F1_AT_THRESHOLD = "F1 at the threshold"
_FOUND = OperatingPoint(0.05, "by rank").defects_found

ResultsByLine = Mapping[RunKey, RunResult]
"""By product, index of the line in its table, and seed."""

_FAILED = "failed"
_UNAVAILABLE = "–"


class LineMetrics:
    """The metrics of one line.

    Args:
        index: of the line in its table, from 0.
        products: names of all products.
        results: of all lines of the table.

    Example:
        >>> from flawmap.metrics.metric import Metric
        >>> results = {
        ...     ("tiles", 0, seed): RunResult({}, {"image AUROC": Metric(value)})
        ...     for seed, value in enumerate((0.90, 0.92))
        ... }
        >>> LineMetrics(0, ["tiles"], results).format_metric("image AUROC", ["tiles"])
        '91.00 ± 1.41'
    """

    def __init__(self, index: int, products: Sequence[str], results: ResultsByLine) -> None:
        self.products = products
        self.results = {
            (product, seed): result
            for (product, line, seed), result in results.items()
            if line == index
        }

    def cells(self, groups: Iterable[Sequence[str]], baseline: LineMetrics | None) -> list[str]:
        """AUROC and F1 of each group of products, F1 at 1 %, defects found, and the difference.

        Args:
            groups: names of the products that a pair of cells takes the mean over.
            baseline: the line to compare with; None for no cell with a difference.
        """
        cells = []
        for products in groups:
            cells.append(self.format_metric(_AUROC, products))
            cells.append(self.format_metric(_F1, products))
        cells.append(self.format_metric(_F1_AT_THRESHOLD, self.products))
        cells.append(self.format_metric(_FOUND, self.products))
        if baseline is not None:
            cells.append(self.format_difference(baseline))
        return cells

    def values(self, name: str, products: Sequence[str]) -> list[float]:
        """The mean of a metric over products for each seed, in percent.

        Args:
            name: of the metric.
            products: to take the mean over; a seed without one of them is passed over.
        """
        means = []
        for seed in sorted({seed for _, seed in self.results}):
            values = [self._value(name, product, seed) for product in products]
            available = [value for value in values if value is not None]
            if len(available) == len(products):
                means.append(100 * fmean(available))
        return means

    def format_metric(self, name: str, products: Sequence[str]) -> str:
        """A metric over products: mean ± standard deviation over seeds.

        Of a single seed and product the 95 % interval over the test images stands in brackets.

        Args:
            name: of the metric.
            products: to take the mean over.

        Returns:
            `failed` where one of the runs did, a dash where the metric is unavailable or one of the
            runs is older than the metric.
        """
        results = [result for (product, _), result in self.results.items() if product in products]
        if any(result.error for result in results):
            return _FAILED
        values = self.values(name, products)
        if not values or any(name not in result.metrics for result in results):
            return _UNAVAILABLE
        if len(values) > 1:
            return f"{fmean(values):.2f} ± {stdev(values):.2f}"
        metric = results[0].metrics[name]
        if len(products) > 1 or metric.low is None or metric.high is None:
            return f"{values[0]:.2f}"
        return f"{values[0]:.2f} ({100 * metric.low:.1f}–{100 * metric.high:.1f})"

    def format_difference(self, other: LineMetrics) -> str:
        """By how many points image AUROC and F1 are above another line's; a dash where unavailable.

        Args:
            other: the line to compare with.
        """
        differences = []
        for name in (_AUROC, _F1):
            values = self.values(name, self.products)
            other_values = other.values(name, self.products)
            if not values or not other_values:
                return _UNAVAILABLE
            differences.append(f"{fmean(values) - fmean(other_values):+.2f}")
        return " / ".join(differences)

    def _value(self, name: str, product: str, seed: int) -> float | None:
        result = self.results.get((product, seed))
        if result is None or name not in result.metrics:
            return None
        return result.metrics[name].value
