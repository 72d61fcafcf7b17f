from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from flawmap.errors import TrainingError
from flawmap.support.progress import Event, listen
from flawmap.training.loop import TrainingRun
from flawmap.training.metrics import TrainingEpoch, TrainingForecast
from flawmap.training.monitor import TrainingMonitor


class Count(TrainingRun[TrainingEpoch]):
    """Adds one an epoch."""

    noun = "counting"

    def __init__(self, epochs: int, about: str = "numbers") -> None:
        self.epochs, self.history, self.about = epochs, [], about
        self.sum = torch.zeros(1)

    def run_epochs(self) -> Iterator[TrainingEpoch]:
        while len(self.history) < self.epochs:
            self.sum += 1
            self.history.append(
                TrainingEpoch(len(self.history) + 1, {"one": 0.25, "two": 0.5}, 0.0)
            )
            yield self.history[-1]

    def state_dict(self) -> dict[str, torch.Tensor]:
        return {"sum": self.sum}

    def load_state_dict(
        self, state: Mapping[str, torch.Tensor], history: list[TrainingEpoch]
    ) -> None:
        self.sum, self.history = state["sum"], history

    def parse_epoch(self, epoch: dict[str, Any]) -> TrainingEpoch:
        return TrainingEpoch(**epoch)

    def resume_key(self) -> str:
        return self.about

    def to_dict(self) -> dict[str, Any]:
        return {"history": [epoch._asdict() for epoch in self.history]}

    def plot(self) -> bytes:
        return b"curves"


def run(course: Count, folder: Path | None = None) -> list[Event]:
    heard: list[Event] = []
    with listen(lambda *_: None, heard.append):
        course.run(folder)
    return heard


def test_without_a_folder_it_just_runs() -> None:
    course = Count(3)
    assert run(course) == []
    assert course.sum == 3


def test_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    run(Count(2), tmp_path)
    longer = Count(5)
    assert run(longer, tmp_path) == ["The counting goes on after epoch 2 of 5"]
    assert longer.sum == 5
    written = json.loads((tmp_path / "history.json").read_text())["history"]
    assert [epoch["number"] for epoch in written] == [1, 2, 3, 4, 5]
    assert (tmp_path / "curves.png").read_bytes() == b"curves"


@pytest.mark.parametrize("other", [Count(3, about="letters"), Count(1)])
def test_another_training_or_a_longer_one_is_not_it(tmp_path: Path, other: Count) -> None:
    run(Count(2), tmp_path)
    (heard,) = run(other, tmp_path)
    assert "is of other images or settings; the counting begins anew" in str(heard)
    assert other.sum == other.epochs


def test_a_damaged_checkpoint_begins_anew(tmp_path: Path) -> None:
    run(Count(2), tmp_path)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"half")
    again = Count(2)
    assert "cannot be read" in str(run(again, tmp_path)[0])
    assert again.sum == 2


def test_the_watch_says_how_far_it_is_and_forecasts_what_is_left() -> None:
    heard: list[Event] = []
    steps: list[tuple[str, int, int]] = []
    with listen(lambda *step: steps.append(step), heard.append):
        watch = TrainingMonitor("Counting", "counting", ends=[5], steps=2, images=7)
        assert list(watch.iterate(4, "ab")) == ["a", "b"]
        assert list(watch.iterate(5, "ab")) == ["a", "b"]
    assert steps == [("counting", done, 10) for done in (6, 7, 8, 8, 9, 10)]
    (forecast,) = [news for news in heard if isinstance(news, TrainingForecast)]
    assert (forecast.epochs, forecast.images, forecast.what) == (2, 7, "Counting")


def test_each_phase_has_a_forecast_of_its_own() -> None:
    heard: list[Event] = []
    with listen(lambda *_: None, heard.append):
        watch = TrainingMonitor("Counting", "counting", ends=[3, 5], steps=2, images=7)
        for epoch in range(2, 6):
            list(watch.iterate(epoch, "ab"))
    assert [news.epochs for news in heard if isinstance(news, TrainingForecast)] == [2, 2]


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_it_and_says_where(loss: float) -> None:
    watch = TrainingMonitor("Counting", "counting", ends=[5], steps=3, images=7)
    batches = watch.iterate(2, "abc")
    next(batches), next(batches)
    watch.check_loss(1e30, "advice")
    with pytest.raises(
        TrainingError, match=rf"the loss became {loss} in epoch 2, step 2 of 3, use less"
    ):
        watch.check_loss(loss, "use less")


def test_a_round_is_drawn_as_a_whole_and_by_its_parts() -> None:
    assert TrainingEpoch(1, {"one": 0.25, "two": 0.5}, 2.0).figures() == {
        "loss": 0.75,
        "loss/one": 0.25,
        "loss/two": 0.5,
    }
