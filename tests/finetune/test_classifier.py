from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import pytest
import torch

from flawmap.errors import OptionError, TrainingError
from flawmap.features.backbone import Backbone
from flawmap.finetune.classifier import build_classifier
from flawmap.finetune.config import PAPER_CONFIG, FineTuneConfig
from flawmap.finetune.dataset import LabelledBatch
from flawmap.finetune.record import FineTuneRecord
from flawmap.finetune.trainer import FineTuning
from flawmap.support.progress import listen
from flawmap.training.metrics import EpochMetrics, TrainingForecast

QUICK = replace(PAPER_CONFIG, epochs=3, learning_rate=0.05, batch_size=8)


class Brightness:
    """Dark images and bright ones: what any network can tell."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def __len__(self) -> int:
        return 32

    def num_batches(self) -> int:
        return 4

    def training_batches(self, epoch: int) -> Iterator[LabelledBatch]:
        for step in range(self.num_batches()):
            yield self._batch(100 * epoch + step)

    def validation_batches(self) -> Iterator[LabelledBatch]:
        yield self._batch(0)

    def fingerprint(self) -> str:
        return str(self.scale)

    def _batch(self, seed: int) -> LabelledBatch:
        labels = torch.arange(8) % 2
        noise = torch.randn(8, 3, 64, 64, generator=torch.Generator().manual_seed(seed))
        return LabelledBatch(
            self.scale * (0.3 * noise + 2.0 * labels[:, None, None, None] - 1), labels
        )


def tiny(layers: tuple[int, ...] = (1, 2)) -> Backbone:
    return Backbone("test_resnet", layers, "random")


def training(
    config: FineTuneConfig, backbone: Backbone | None = None, scale: float = 1.0, seed: int = 0
) -> FineTuning:
    classifier = build_classifier(backbone or tiny(), 2, config, seed)
    return FineTuning(classifier, Brightness(scale), FineTuneRecord(config, {}))


def trained(config: FineTuneConfig, backbone: Backbone | None = None) -> FineTuning:
    run = training(config, backbone)
    assert len(list(run.run_epochs())) == config.epochs
    return run


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("statistics", ["train", "frozen"])
def test_the_loss_falls_on_a_toy_problem(statistics: Literal["train", "frozen"]) -> None:
    history = trained(replace(QUICK, epochs=6, batch_norm=statistics)).history
    assert history[-1].loss < 0.5 * history[0].loss
    assert history[-1].validation_accuracy == 1.0
    assert [epoch.number for epoch in history] == [1, 2, 3, 4, 5, 6]


def test_all_layers_and_their_running_statistics_are_trained_as_in_the_paper() -> None:
    backbone = tiny()
    before = {name: tensor.clone() for name, tensor in backbone.weights().items()}
    trained(QUICK, backbone)
    untouched = set(before) - changed(before, backbone.weights())
    assert not untouched


def test_frozen_statistics_stay_and_the_rest_is_trained() -> None:
    backbone = tiny()
    before = {name: tensor.clone() for name, tensor in backbone.weights().items()}
    trained(replace(QUICK, epochs=1, batch_norm="frozen"), backbone)
    untouched = set(before) - changed(before, backbone.weights())
    assert untouched == {name for name in before if "running" in name or "num_batches" in name}


def test_frozen_stages_stay_to_the_last_bit_with_their_statistics() -> None:
    backbone = tiny()
    before = {name: tensor.clone() for name, tensor in backbone.weights().items()}
    trained(replace(QUICK, epochs=1, frozen_stages=1), backbone)
    trained_names = changed(before, backbone.weights())
    assert trained_names
    assert all(name.startswith("layer2") for name in trained_names)


def test_going_on_from_a_saved_state_gives_the_same_weights_as_running_through() -> None:
    through = trained(QUICK)
    stopped = training(QUICK)
    next(stopped.run_epochs())
    saved = {name: tensor.clone() for name, tensor in stopped.state_dict().items()}
    resumed = training(QUICK, seed=1)
    resumed.load_state_dict(saved, list(stopped.history))
    assert [epoch.number for epoch in resumed.run_epochs()] == [2, 3]
    assert not changed(through.state_dict(), resumed.state_dict())


def test_the_same_seed_trains_the_same_network() -> None:
    assert not changed(trained(QUICK).state_dict(), trained(QUICK).state_dict())


def test_a_loss_without_end_stops_and_says_where() -> None:
    run = training(replace(QUICK, learning_rate=1e30), scale=1e6)
    with pytest.raises(
        TrainingError,
        match=r"became (nan|inf) in epoch 1, step [234] of 4; use a learning_rate below 1e\+30",
    ):
        list(run.run_epochs())


def test_it_tells_how_long_it_will_take_and_what_came_of_each_epoch() -> None:
    heard: list[object] = []
    with listen(lambda *_: None, heard.append):
        trained(QUICK)
    forecasts = [event for event in heard if isinstance(event, TrainingForecast)]
    assert [(forecast.epochs, forecast.images) for forecast in forecasts] == [(3, 32)]
    assert 0 < forecasts[0].seconds < 60
    assert [event.number for event in heard if isinstance(event, EpochMetrics)] == [1, 2, 3]


def test_a_stage_must_be_left_to_train() -> None:
    with pytest.raises(
        OptionError, match="2 stages of 2 cannot be frozen; use frozen_stages=1 or less"
    ):
        build_classifier(tiny(), 2, FineTuneConfig(frozen_stages=2), seed=0)


def test_the_default_is_gentle_and_the_paper_is_a_preset() -> None:
    untaught = tiny((2, 3))
    before = {name: tensor.clone() for name, tensor in untaught.weights().items()}
    trained(FineTuneConfig(epochs=1, batch_size=8), untaught)
    assert {name.split(".")[0] for name in changed(before, untaught.weights())} == {"layer3"}
    assert (PAPER_CONFIG.learning_rate, PAPER_CONFIG.frozen_stages, PAPER_CONFIG.batch_norm) == (
        0.01,
        0,
        "train",
    )
