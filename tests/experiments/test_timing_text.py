from __future__ import annotations

from pathlib import Path

import pytest

from flawmap.experiments.study import StudyConfig
from flawmap.experiments.tables import TABLES
from flawmap.experiments.timing import LineTimings
from flawmap.experiments.timing_text import format_timing_table, timing_records

SECTIONS = ("decode", "network", "embedding", "reduction", "search", "whole")
TIMINGS = [
    LineTimings(
        dict.fromkeys(SECTIONS, (1.5, 2.25)),
        {"features": 10.0, "reduction": 10.0, "coreset": 10.0},
        (784, 153),
    )
] * len(TABLES[2].lines)


@pytest.fixture
def study(products: Path) -> StudyConfig:
    return StudyConfig(products, seeds=2)


def test_times_with_the_papers_own_beside(study: StudyConfig) -> None:
    text = format_timing_table(TABLES[2], study, "Black", TIMINGS, "a machine")
    cells = dict(zip(text.columns, text.rows[0], strict=True))
    assert cells["bank"] == "784 × 153"
    assert cells["search ms"] == "1.50 (2.25)"
    assert cells["bank built s"] == "30.0"
    assert (cells["published: image s"], cells["published: bank"]) == ("0.202", "111")


def test_a_product_that_the_paper_lacks_has_the_mean_of_its_products(study: StudyConfig) -> None:
    text = format_timing_table(TABLES[2], study, "tiles", TIMINGS, "a machine")
    assert text.rows[0][-2:] == ["0.216", "509"]
    assert text.rows[-1][-2:] == ["", ""]


def test_a_row_of_times_per_line() -> None:
    rows = timing_records(TABLES[2], "Black", TIMINGS)
    assert [row["line"] for row in rows] == [line.label for line in TABLES[2].lines]
    assert rows[0]["search ms, p95"] == 2.25
    assert rows[0]["bank channels"] == 153
