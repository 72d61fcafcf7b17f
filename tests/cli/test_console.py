from __future__ import annotations

import io

import pytest

from flawmap.cli.console import progress_bars
from flawmap.support.progress import emit, report_progress
from flawmap.training.metrics import EpochMetrics, TrainingForecast


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


def test_the_columns_of_a_fine_tuning(screen: io.StringIO) -> None:
    with progress_bars():
        emit(EpochMetrics(1, {"cross-entropy": 0.7}, 2.0, 0.5, 0.6, 0.75))
    headings = next(line for line in screen.getvalue().splitlines() if "epoch" in line)
    assert [heading.strip() for heading in headings.strip("┃").split("┃")] == [
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
def test_durations(screen: io.StringIO, seconds: float, text: str) -> None:
    with progress_bars():
        emit(TrainingForecast(2, 8, seconds, "Training"))
    assert f"takes about {text} on this machine" in screen.getvalue()
