from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from flawmap.errors import TrainingError
from flawmap.training.checkpoint import Checkpoint, hash_of, load_optimizer_state, optimizer_state
from flawmap.training.metrics import EpochMetrics


def test_a_checkpoint_comes_back_to_the_bit(tmp_path: Path) -> None:
    history = [EpochMetrics(1, {"loss": 0.1}, 2.0), EpochMetrics(2, {"loss": 1 / 3}, 2.0)]
    state = {"a": torch.rand(3, 4).mT, "b": torch.Generator().manual_seed(3).get_state()}
    Checkpoint("key", history, state).write(tmp_path / "file")
    key, epochs, tensors = Checkpoint.read(tmp_path / "file")
    assert (key, epochs) == ("key", history)
    assert all(torch.equal(tensors[name], state[name]) for name in state)


def test_a_damaged_file_is_reported_with_its_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"half")
    with pytest.raises(TrainingError, match=r"file cannot be read"):
        Checkpoint.read(tmp_path / "file")


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_moments_come_back_into_new_optimizers(name: str) -> None:
    def make(weights: Tensor) -> list[Optimizer]:
        if name == "sgd":
            return [SGD([weights], 0.1, momentum=0.9)]
        return [(Adam if name == "adam" else AdamW)([weights], 0.1)]

    def step(weights: Tensor, optimizers: list[Optimizer]) -> None:
        optimizers[0].zero_grad()
        weights.pow(4).sum().backward()
        optimizers[0].step()

    through = torch.linspace(1, 2, 5).requires_grad_()
    optimizers = make(through)
    step(through, optimizers)
    step(through, optimizers)
    resumed = through.detach().clone().requires_grad_()
    again = make(resumed)
    saved = {key: tensor.clone() for key, tensor in optimizer_state(optimizers).items()}
    load_optimizer_state(again, saved)
    step(through, optimizers)
    step(resumed, again)
    assert torch.equal(through, resumed)


def test_a_hash_follows_all_that_it_is_of() -> None:
    assert hash_of("crad", {"epochs": 3}) == hash_of("crad", {"epochs": 3})
    assert hash_of("crad", {"epochs": 3}) != hash_of("crad", {"epochs": 4})
