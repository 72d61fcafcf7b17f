from __future__ import annotations

import pytest

from flawmap.errors import TrainingError
from flawmap.support.progress import Event, listen
from flawmap.training.metrics import TrainingForecast
from flawmap.training.monitor import TrainingMonitor


def monitor(phase_ends: list[int], num_steps: int = 2) -> TrainingMonitor:
    return TrainingMonitor("counting", "counts", phase_ends, num_steps, 7, advice="count less")


def test_it_reports_progress_and_forecasts_what_is_left() -> None:
    events: list[Event] = []
    steps: list[tuple[str, int, int]] = []
    with listen(lambda *step: steps.append(step), events.append):
        watched = monitor([5])
        assert list(watched.iterate(4, "ab")) == ["a", "b"]
        assert list(watched.iterate(5, "ab")) == ["a", "b"]
    assert steps == [("counts", done, 10) for done in (6, 7, 8, 8, 9, 10)]
    (forecast,) = [event for event in events if isinstance(event, TrainingForecast)]
    assert (forecast.epochs, forecast.images, forecast.what) == (2, 7, "Counting")


def test_the_forecast_leaves_out_the_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("flawmap.training.monitor.time.perf_counter", lambda: clock[0])
    events: list[Event] = []
    with listen(lambda *_: None, events.append):
        for step, _ in enumerate(monitor([2], num_steps=10).iterate(1, range(10))):
            clock[0] += 100.0 if step == 0 else 2.0
    (forecast,) = [event for event in events if isinstance(event, TrainingForecast)]
    assert forecast.seconds == pytest.approx(2 * 10 * 2.0)


def test_each_phase_has_a_forecast_of_its_own() -> None:
    events: list[Event] = []
    with listen(lambda *_: None, events.append):
        watched = monitor([3, 5])
        for epoch in range(2, 6):
            list(watched.iterate(epoch, "ab"))
    assert [event.epochs for event in events if isinstance(event, TrainingForecast)] == [2, 2]


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_refused_with_its_step(loss: float) -> None:
    watched = monitor([5], num_steps=3)
    batches = watched.iterate(2, "abc")
    next(batches)
    next(batches)
    watched.check_loss(1e30)
    with pytest.raises(
        TrainingError, match=rf"the loss became {loss} in epoch 2, step 2 of 3; count less"
    ):
        watched.check_loss(loss)
