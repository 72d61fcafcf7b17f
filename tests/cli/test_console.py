from __future__ import annotations

import io

import pytest

from flawmap.cli import console
from flawmap.cli.console import on_one_line, progress_bars
from flawmap.memory.forecast import FitForecast
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


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("[red]a[/].png", "[red]a[/].png"),
        ("a\nb\x1b[2J\u2028c\x85", "a\\nb\\x1b[2J\\u2028c\\x85"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("gr\udcfcn \udce6\udc95\udca3.jpg", "gr\\xfcn 散.jpg"),
        ("back\\slash\\", "back\\slash\\"),
        ("नमस्ते 👩‍🔧.png", "नमस्ते 👩‍🔧.png"),
    ],
)
def test_a_name_is_shown_on_one_line_as_it_is(name: str, shown: str, screen: io.StringIO) -> None:
    console.out.print(f"[bold]{on_one_line(name)}[/]")
    assert screen.getvalue() == f"{shown}\n"


def test_what_a_fit_takes_is_one_line(screen: io.StringIO) -> None:
    with progress_bars():
        emit(FitForecast(100, 46.2, 812_000_000, 31_800_000))
    assert "takes about" not in screen.getvalue()
    with progress_bars(of_one_fit=True):
        emit(FitForecast(400, 46.2, 812_000_000, 31_800_000))
    text = "This fit of 400 images takes about 46 s more, 0.81 GB of memory and 32 MB of disk"
    assert text in screen.getvalue()


def test_a_stage_may_have_any_name(screen: io.StringIO) -> None:
    with progress_bars():
        report_progress("reading [red]a[/red] [/b]", 0, 2)
    assert "reading [red]a[/red] [/b]" in screen.getvalue()
