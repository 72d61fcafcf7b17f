from __future__ import annotations

import json

import pytest

from flawmap.training.metrics import EpochMetrics

PARTS = EpochMetrics(1, {"one": 0.25, "two": 0.5}, 2.0)
CLASSIFIED = EpochMetrics(3, {"cross-entropy": 0.7}, 2.0, 0.5, 0.6, 0.75)


def test_the_loss_is_the_sum_of_its_parts() -> None:
    assert PARTS.loss == 0.75


def test_scalars_hold_the_sum_and_its_parts() -> None:
    assert PARTS.scalars() == {"loss/train": 0.75, "loss/one": 0.25, "loss/two": 0.5}


def test_scalars_hold_what_was_validated() -> None:
    assert CLASSIFIED.scalars() == {
        "loss/train": 0.7,
        "loss/validation": 0.6,
        "accuracy/train": 0.5,
        "accuracy/validation": 0.75,
    }


@pytest.mark.parametrize("epoch", [PARTS, CLASSIFIED])
def test_it_survives_json(epoch: EpochMetrics) -> None:
    assert EpochMetrics.from_dict(json.loads(json.dumps(epoch.to_dict()))) == epoch
    assert epoch.to_dict()["loss"] == epoch.loss
