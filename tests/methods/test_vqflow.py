from __future__ import annotations

from typing import Any

import pytest
import torch

from flawmap.engine.batches import Batches
from flawmap.errors import OptionError
from flawmap.features.quantised_flow import VQFlowOutput
from flawmap.methods import METHODS
from flawmap.methods.vqflow import VQFlow, VQFlowHead
from flawmap.runtime.preprocess import Preprocessing
from flawmap.support.tensors import Embedded
from helpers import texture

SIZE = Preprocessing(64, 96)
GOOD = [texture(seed, 64, 96) for seed in range(9)]
TINY: dict[str, Any] = {
    **METHODS["vqflow"].presets["smoke"].options,
    "backbone": "test_resnet",
    "weights": "random",
}


class Given(torch.nn.Module):
    def __init__(self, maps: list[torch.Tensor]) -> None:
        super().__init__()
        self.maps = maps

    def forward(self, encoded: list[torch.Tensor]) -> VQFlowOutput:
        return VQFlowOutput(self.maps, torch.zeros(1), torch.zeros(()))


def test_the_loss_falls() -> None:
    method = VQFlow(**TINY | {"epochs": 6, "learning_rate": 1e-3, "warmup_epochs": 0}).fit(
        Batches(GOOD, SIZE)
    )
    assert isinstance(method, VQFlow)
    assert method.history_[-1].loss < method.history_[0].loss - 50


def test_an_unlikely_position_is_anomalous_and_the_likeliest_is_not() -> None:
    maps = [torch.full((1, 4, side, side), 0.1) for side in (8, 4, 2)]
    maps[0][0, :, 2, 5] = 3.0
    scores = VQFlowHead(Given(maps))(Embedded((torch.zeros(1, 1, 1, 1),)), 64, 64)
    row, column = divmod(int(scores.pixel[0].argmax()), 64)
    assert abs(row - 2 * 63 / 7) <= 1
    assert abs(column - 5 * 63 / 7) <= 1
    assert scores.pixel.min() == 0
    # There log p is −½ · 9, elsewhere −½ · 0.01: the map differs by 1 − e^−4.495.
    assert scores.pixel.max().item() == pytest.approx(1 - 2.718281828**-4.495, abs=0.01)
    assert 0 < scores.image.item() < 1


def test_the_rate_rises_and_falls() -> None:
    method = VQFlow(warmup_epochs=10)
    paces = [method.lr_factor(epoch) for epoch in (1, 6, 11, 70, 71, 91)]
    assert paces == pytest.approx([0.1, 0.55, 1, 1, 0.33, 0.1089])


def test_steps_of_fewer_images_are_left_out() -> None:
    method = VQFlow(**TINY)
    assert [len(batch) for batch in method.split_batches(range(9))] == [4, 4]
    assert [len(batch) for batch in method.split_batches(range(3))] == [3]


@pytest.mark.parametrize(
    "options",
    [{"layers": (1, 2, 3)}, {"flow_steps": (1, 2)}, {"position_dim": 6}, {"learning_rate": 0.0}],
)
def test_options_that_cannot_work(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=r"takes four layers|divisible by 4"):
        VQFlow(**options)
