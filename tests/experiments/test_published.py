from __future__ import annotations

import pytest

from flawmap.experiments import published
from flawmap.experiments.published import MEAN, METRICS, TIMES
from flawmap.experiments.tables import TABLES


@pytest.mark.parametrize("table", METRICS.values(), ids=map(str, METRICS))
def test_metrics_are_percents_and_means_those_of_the_products(
    table: dict[str, published.PublishedLine],
) -> None:
    for line in table.values():
        for pair in line.values():
            assert all(80 < value <= 100 or value == 70.18 for value in pair)
        products = [pair for product, pair in line.items() if product != MEAN]
        if products:
            auroc = sum(pair.auroc for pair in products) / len(products)
            assert line[MEAN].auroc == pytest.approx(auroc)
            assert line[MEAN].f1 == pytest.approx(sum(pair.f1 for pair in products) / len(products))


def test_the_tables_agree_where_they_print_the_same_line() -> None:
    assert METRICS[1]["Ours"][MEAN].auroc == pytest.approx(METRICS[5]["Ours"][MEAN].auroc, abs=0.01)
    assert METRICS[3]["CA"] == METRICS[5]["Ours"]
    assert METRICS[4]["50 %"] == METRICS[1]["Ours"]


def test_each_line_that_we_measure_stands_beside_one_of_the_paper() -> None:
    for number, table in METRICS.items():
        labels = {line.label for line in TABLES[number].lines}
        assert set(table) <= labels
    assert set(TIMES) <= {line.label for line in TABLES[2].lines}
