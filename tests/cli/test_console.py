from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from flawmap.cli import console
from flawmap.cli.console import (
    format_duration,
    print_budgets,
    print_product_summary,
    progress_bars,
    training_table,
)
from flawmap.metrics.metric import Metric
from flawmap.runtime.calibration import Budget, Calibration
from flawmap.support.progress import emit, report_progress
from flawmap.training.metrics import EpochMetrics, TrainingForecast


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a terminal of 120 columns shows."""
    text = io.StringIO()
    terminal = Console(
        file=text, force_terminal=True, width=120, highlight=False, color_system=None
    )
    monkeypatch.setattr(console, "err", terminal)
    monkeypatch.setattr(console, "out", terminal)
    return text


def test_epochs_and_messages_stay_when_the_bars_go(screen: io.StringIO) -> None:
    with progress_bars():
        report_progress("training", 1, 2)
        emit(TrainingForecast(40, 100, 600.0, "Training GLASS"))
        for number in range(1, 41):
            emit(EpochMetrics(number, {"real": 0.25, "fake": 0.5}, 3.0))
        emit("the learning [rate] was halved")
    shown = screen.getvalue()
    expected = "Training GLASS with 100 images in each of 40 epochs takes about 10 min"
    assert expected in shown
    assert "the learning [rate] was halved" in shown
    last = shown[shown.rindex("epoch") :]
    assert "real loss" in last
    assert "0.7500" in last
    # Every second epoch of forty, and the first.
    assert last.count("0.7500") == 21


def test_a_training_after_a_fine_tuning_has_a_table_of_its_own(screen: io.StringIO) -> None:
    with progress_bars():
        emit(EpochMetrics(1, {"cross-entropy": 0.7}, 2.0, 0.5, 0.6, 0.75))
        emit(EpochMetrics(1, {"flow": 0.125}, 3.0))
    shown = screen.getvalue()
    assert "validation accuracy" in shown
    assert "75.0%" in shown
    assert "0.1250" in shown


def test_the_columns_of_a_fine_tuning() -> None:
    table = training_table(EpochMetrics(1, {"cross-entropy": 0.7}, 2.0, 0.5, 0.6, 0.75))
    assert [column.header for column in table.columns] == [
        "epoch",
        "loss",
        "accuracy",
        "validation loss",
        "validation accuracy",
        "seconds",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"), [(99.4, "99 s"), (100, "2 min"), (7140, "119 min"), (7200, "2.0 h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_the_budget_that_is_set_is_marked(screen: io.StringIO) -> None:
    scores = np.arange(99.0)
    print_budgets(Calibration(scores, scores, Budget(0.03, 0.9)))
    marked = [line for line in screen.getvalue().splitlines() if "→" in line]
    assert len(marked) == 1
    assert "3.00%, 90% sure" in marked[0]


def test_a_mean_over_fewer_than_all_products_is_not_shown(screen: io.StringIO) -> None:
    names = ("image AUROC", "F1 max", "F1 at the threshold", "pixel AUROC", "AUPRO")
    black = dict.fromkeys(names, Metric(0.9))
    white = dict.fromkeys(names, Metric(0.8)) | {"AUPRO": Metric(unavailable="no masks")}
    print_product_summary({"Black": black, "White": white})
    mean = next(line for line in screen.getvalue().splitlines() if "mean" in line)
    assert mean.count("85.00") == 4
    assert mean.count("–") == 1
