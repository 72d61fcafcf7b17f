"""What methods that are trained get without doing anything for it.

Resuming, stopping, refusing, setting aside.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from flawmap import Inspector
from flawmap.engine.batches import Batches
from flawmap.errors import DatasetError, OptionError, TrainingError, WriteError
from flawmap.methods import METHODS, make_method
from flawmap.methods import trained_base as trained
from flawmap.methods.trained_base import Losses, TrainedMethod
from flawmap.runtime.preprocess import Preprocessing
from flawmap.support.progress import Event, listen
from flawmap.training.metrics import EpochMetrics, TrainingForecast
from helpers import full_disk, needs_file_size_limit, texture

SIZE = Preprocessing(64, 64)
GOOD = [texture(seed) for seed in range(9)]
NAMES = [name for name in METHODS if isinstance(METHODS[name].factory(), TrainedMethod)]

Fitted = tuple[TrainedMethod[torch.nn.Module], list[Event]]

every = pytest.mark.parametrize("name", NAMES)


def trained_method(name: str, *given: str, **options: Any) -> TrainedMethod[Any]:
    method = make_method(name, *given, **options)
    assert isinstance(method, TrainedMethod)
    return method


def fit(name: str, folder: Path | None = None, **options: Any) -> Fitted:
    method = make_method(
        name, "smoke", **{"backbone": "test_resnet", "weights": "random", **options}
    )
    events: list[Event] = []
    with listen(lambda *_: None, events.append):
        method.fit(Batches(GOOD, SIZE), folder)
    assert isinstance(method, TrainedMethod)
    return method, events


def same(one: TrainedMethod[torch.nn.Module], other: TrainedMethod[torch.nn.Module]) -> bool:
    states = one.fitted_state(), other.fitted_state()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][key], states[1][key]) for key in states[0]
    )


def rounds(events: list[Event]) -> list[int]:
    return [event.number for event in events if isinstance(event, EpochMetrics)]


@every
def test_a_stopped_training_resumes_to_the_same_bit(name: str, tmp_path: Path) -> None:
    if "epochs" in trained_method(name).resume_keys:
        pytest.skip("another phase follows, so that a longer training is another one")
    through, _ = fit(name, epochs=4)
    fit(name, tmp_path, epochs=2)
    resumed, events = fit(name, tmp_path, epochs=4)
    assert same(resumed, through)
    assert rounds(events) == [3, 4]
    assert "The training resumes after epoch 2 of 4" in events
    assert [epoch.losses for epoch in resumed.history_] == [
        epoch.losses for epoch in through.history_
    ]


@every
def test_ctrl_c_says_where_it_stopped(name: str, tmp_path: Path) -> None:
    events: list[Event] = []

    def press(event: Event) -> None:
        events.append(event)
        if isinstance(event, EpochMetrics) and event.number == 2:
            raise KeyboardInterrupt

    method = make_method(name, "smoke", backbone="test_resnet", weights="random", epochs=3)
    with listen(lambda *_: None, press), pytest.raises(KeyboardInterrupt):
        method.fit(Batches(GOOD, SIZE), tmp_path)
    assert "Stopped; the same command resumes after epoch 2 of 3" in events
    # The second epoch was told and not yet kept; it is trained again, to the same.
    assert same(fit(name, tmp_path, epochs=3)[0], fit(name, epochs=3)[0])


@every
@pytest.mark.parametrize("change", [{"seed": 5}, {"batch_size": 3}])
def test_other_settings_start_again(name: str, change: dict[str, Any], tmp_path: Path) -> None:
    fit(name, tmp_path)
    again, events = fit(name, tmp_path, **change)
    assert any(
        "is of other images or settings; the training starts again" in str(event)
        for event in events
    )
    assert same(again, fit(name, **change)[0])


def test_other_images_begin_anew(tmp_path: Path) -> None:
    fit("crad", tmp_path)
    events: list[Event] = []
    method = make_method("crad", "smoke", backbone="test_resnet", weights="random")
    with listen(lambda *_: None, events.append):
        method.fit(Batches([*GOOD[1:], texture(90)], SIZE), tmp_path)
    assert rounds(events) == [1, 2]


def test_a_finished_training_is_not_done_again(tmp_path: Path) -> None:
    once, _ = fit("crad", tmp_path)
    again, events = fit("crad", tmp_path)
    assert same(once, again)
    assert rounds(events) == []


@every
def test_its_record_is_left_in_json_and_as_an_image(name: str, tmp_path: Path) -> None:
    method, events = fit(name, tmp_path)
    record = json.loads((tmp_path / "history.json").read_text())
    assert record["options"] == method.options()
    assert [epoch["losses"] for epoch in record["history"]] == [
        epoch.losses for epoch in method.history_
    ]
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    (forecast,) = [event for event in events if isinstance(event, TrainingForecast)]
    assert (forecast.what, forecast.epochs) == ("Training", 2)


@every
def test_a_loss_that_is_no_number_stops_with_epoch_and_step(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = trained_method(name, "smoke", backbone="test_resnet", weights="random", batch_size=3)
    loss: Callable[..., Losses] = type(method).loss
    calls: list[int] = []

    def break_off(self: object, networks: torch.nn.Module, batch: list[torch.Tensor]) -> Losses:
        calls.append(0)
        losses = loss(self, networks, batch)
        return (
            {key: value * float("nan") for key, value in losses.items()}
            if len(calls) == 5
            else losses
        )

    monkeypatch.setattr(type(method), "loss", break_off)
    with pytest.raises(TrainingError, match="the loss became nan in epoch 2, step 2 of 3"):
        method.fit(Batches(GOOD, SIZE))


def test_too_much_for_the_memory_is_said_before_it_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trained, "available_memory", lambda: 1000)
    with pytest.raises(
        OptionError, match=r"to train on 12 images takes 0.00 GB and 0.00 GB are free; use fewer"
    ):
        fit("crad")


@every
@pytest.mark.parametrize(
    ("good", "said"), [([], "no image could be used"), (GOOD[:1], "1 image could be used")]
)
def test_too_few_images(name: str, good: list[np.ndarray], said: str) -> None:
    method = make_method(name, "smoke", backbone="test_resnet", weights="random")
    with pytest.raises(DatasetError, match=f"{said}, and 2 are the fewest to train with"):
        method.fit(Batches([b"no image", *good], SIZE))


@every
def test_the_inspector_sets_a_fifth_aside(name: str) -> None:
    options: dict[str, Any] = {"backbone": "test_resnet", "weights": "random", "size": 64}
    inspector = Inspector(name, preset="smoke", **options).fit(GOOD)
    assert inspector.calibration.exact
    assert len(inspector.calibration.scores) == 2
    more = Inspector(name, preset="smoke", calibration_fraction=0.5, **options).fit(GOOD)
    assert len(more.calibration.scores) == 5


def test_a_preset_brings_its_size_unless_one_is_given() -> None:
    options: dict[str, Any] = {"backbone": "test_resnet", "weights": "random"}
    assert Inspector("glass", preset="paper", **options).preprocessing.height == 288
    assert Inspector("glass", preset="paper", size=64, **options).preprocessing.height == 64
    assert Inspector("glass", **options).preprocessing.height == 224


def test_presets_by_name() -> None:
    assert (
        make_method("glass", "paper", epochs=3).options()["backbone"] == "wide_resnet50_2.tv_in1k"
    )
    assert make_method("glass", "paper", epochs=3).options()["epochs"] == 3
    with pytest.raises(OptionError, match="glass has no preset 'huge'; it has cpu, paper, smoke"):
        make_method("glass", "huge")
    with pytest.raises(
        OptionError, match=r"patchcore has no preset 'cpu', nor any other; .*glass, crad"
    ):
        make_method("patchcore", "cpu")


@every
@pytest.mark.parametrize(
    "option", ["epochs", "batch_size", "max_images_per_epoch", "learning_rate"]
)
def test_options_that_train_nothing(name: str, option: str) -> None:
    with pytest.raises(OptionError, match=r"use 1 or more of each|more than 0 of each"):
        trained_method(name, **{option: 0})


@needs_file_size_limit
def test_a_full_disk_stops_the_training_and_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    fit("crad", tmp_path, epochs=1)
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    message = r"could not be written \(File too large\); what was there before still is"
    with full_disk(), pytest.raises(WriteError, match=message):
        fit("crad", tmp_path)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before
