from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam

from flawmap.errors import TrainingError
from flawmap.support.progress import Event, listen
from flawmap.training.checkpoint import hash_of
from flawmap.training.loop import TrainingRun
from flawmap.training.metrics import EpochMetrics
from flawmap.training.monitor import TrainingMonitor


class Lines(TrainingRun[nn.Linear]):
    """Fits a line, with two optimizers, to points that follow from the epoch's number."""

    def __init__(
        self, epochs: int, about: str = "lines", scale: float = 1.0, clip: float | None = None
    ) -> None:
        self.about = about
        self.scale = scale
        monitor = TrainingMonitor("line fit", "fitting lines", [epochs], 4, 32, advice="use less")
        linear = nn.Linear(1, 1)
        nn.init.constant_(linear.weight, 0.0)
        nn.init.constant_(linear.bias, 0.0)
        optimizers = [SGD([linear.weight], 0.1, momentum=0.9), Adam([linear.bias], 0.1)]
        super().__init__(linear, optimizers, monitor, clip)

    def train_epoch(self, number: int) -> dict[str, float]:
        generator = torch.Generator().manual_seed(number)
        points = torch.randn(4, 8, 1, generator=generator)
        total = 0.0
        for batch in self.monitor.iterate(number, points):
            loss = self.scale * (self.networks(batch) - (3 * batch + 1)).square().mean()
            self.step(loss)
            total += loss.item()
        return {"squares": total / 4}

    def resume_key(self) -> str:
        return hash_of(self.about)

    def to_dict(self) -> dict[str, Any]:
        return {"history": [epoch.to_dict() for epoch in self.history]}

    def plot(self) -> bytes:
        return b"curves"


def run(training: Lines, folder: Path | None = None) -> list[Event]:
    events: list[Event] = []
    with listen(lambda *_: None, events.append):
        training.run(folder)
    return events


def weights(training: Lines) -> dict[str, torch.Tensor]:
    return training.networks.state_dict()


def messages(events: list[Event]) -> list[str]:
    return [event for event in events if isinstance(event, str)]


def test_it_trains_and_emits_each_epoch() -> None:
    training = Lines(20)
    epochs = [event for event in run(training) if isinstance(event, EpochMetrics)]
    assert epochs == training.history
    assert [epoch.number for epoch in epochs] == list(range(1, 21))
    assert epochs[-1].loss < 0.01 * epochs[0].loss
    assert training.networks.weight.item() == pytest.approx(3.0, abs=0.2)


def test_a_stopped_training_resumes_to_the_same_bits(tmp_path: Path) -> None:
    through = Lines(5)
    run(through)
    run(Lines(2), tmp_path)
    longer = Lines(5)
    events = run(longer, tmp_path)
    assert messages(events) == ["The line fit resumes after epoch 2 of 5"]
    assert all(
        torch.equal(weights(longer)[name], weights(through)[name]) for name in ("weight", "bias")
    )
    assert [epoch.losses for epoch in longer.history] == [epoch.losses for epoch in through.history]
    written = json.loads((tmp_path / "history.json").read_text())["history"]
    assert [epoch["number"] for epoch in written] == [1, 2, 3, 4, 5]
    assert (tmp_path / "curves.png").read_bytes() == b"curves"


def test_a_finished_training_is_not_trained_again(tmp_path: Path) -> None:
    run(Lines(2), tmp_path)
    again = Lines(2)
    events = run(again, tmp_path)
    assert messages(events) == ["The line fit resumes after epoch 2 of 2"]
    assert [event for event in events if isinstance(event, EpochMetrics)] == []


@pytest.mark.parametrize(("epochs", "about"), [(3, "circles"), (1, "lines")])
def test_a_checkpoint_of_another_or_a_longer_training_is_not_resumed(
    tmp_path: Path, epochs: int, about: str
) -> None:
    run(Lines(2), tmp_path)
    other = Lines(epochs, about)
    (message,) = messages(run(other, tmp_path))
    assert "is of other images or settings; the line fit starts again" in message
    fresh = Lines(epochs, about)
    run(fresh)
    assert torch.equal(weights(other)["weight"], weights(fresh)["weight"])


def test_a_damaged_checkpoint_starts_again(tmp_path: Path) -> None:
    run(Lines(2), tmp_path)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"half")
    again = Lines(2)
    (message,) = messages(run(again, tmp_path))
    assert "cannot be read" in message
    assert message.endswith("the line fit starts again")
    assert len(again.history) == 2


def test_ctrl_c_says_after_which_epoch_it_resumes(tmp_path: Path) -> None:
    events: list[Event] = []

    def press(event: Event) -> None:
        events.append(event)
        if isinstance(event, EpochMetrics) and event.number == 2:
            raise KeyboardInterrupt

    with listen(lambda *_: None, press), pytest.raises(KeyboardInterrupt):
        Lines(3).run(tmp_path)
    assert "Stopped; the same command resumes after epoch 2 of 3" in events


def test_a_loss_that_is_not_finite_changes_no_weight() -> None:
    training = Lines(2, scale=float("inf"))
    with pytest.raises(TrainingError, match="the loss became inf in epoch 1, step 1 of 4; use le"):
        run(training)
    assert training.networks.weight.item() == 0.0


def test_gradients_are_clipped_beyond_the_largest_norm() -> None:
    free = Lines(1)
    clipped = Lines(1, clip=1e-3)
    run(free)
    run(clipped)
    # At most 4 steps of momentum 0.9 with a gradient of 1e-3 at a rate of 0.1.
    assert abs(clipped.networks.weight.item()) <= 0.1 * 1e-3 * (1 + 1.9 + 2.71 + 3.439) + 1e-9
    assert abs(free.networks.weight.item()) > 0.1
