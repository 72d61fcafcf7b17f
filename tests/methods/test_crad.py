from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from flawmap.engine.batches import Batches
from flawmap.errors import OptionError
from flawmap.methods.crad import CRAD, CRADHead
from flawmap.runtime.preprocess import Preprocessing
from flawmap.support.tensors import Embedded
from helpers import texture

SIZE = Preprocessing(64, 96)
GOOD = [texture(seed, 64, 96) for seed in range(8)]
TINY: dict[str, Any] = {
    "backbone": "test_resnet",
    "weights": "random",
    "blocks": 1,
    "batch_size": 4,
}


class Shifts(torch.nn.Module):
    """A memory that is off by a known amount at each position."""

    def __init__(self, shift: torch.Tensor) -> None:
        super().__init__()
        self.shift = shift

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features + self.shift


def test_the_loss_falls() -> None:
    method = CRAD(**TINY, epochs=5).fit(Batches(GOOD, SIZE))
    assert isinstance(method, CRAD)
    assert method.history_[-1].loss < 0.5 * method.history_[0].loss


def test_the_rates_fall_to_a_tenth() -> None:
    method = CRAD(**TINY, lr_decay_epochs=40)
    assert [method.lr_factor(epoch) for epoch in (1, 40, 41, 80, 81)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01]
    )


def test_grids_have_a_rate_of_their_own() -> None:
    method = CRAD(**TINY)
    memory = method.networks([(6, 4, 5)])
    others, grids = (optimizer.param_groups[0] for optimizer in method.optimizers(memory))
    assert (others["lr"], grids["lr"]) == (1e-3, 0.1)
    assert [tuple(grid.shape) for grid in grids["params"]] == [(1, 6, 8, 8), (1, 120, 4, 4)]
    assert len(others["params"]) + 2 == len(list(memory.parameters()))


def test_positions_are_jittered_in_training_alone() -> None:
    torch.manual_seed(0)
    memory, features = CRAD(**TINY).networks([(6, 4, 5)]), torch.randn(2, 6, 4, 5)
    memory.eval()
    assert torch.equal(memory(features), memory(features))
    memory.train()
    for layer in memory.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.eval()
    torch.nn.init.normal_(memory.projection.weight)
    outputs = [memory(features) for _ in range(16)]
    # Every other step goes without.
    without = sum(torch.equal(grid, memory.eval()(features)) for grid in outputs)
    assert 2 <= without <= 14


def test_maps_are_joined_corner_on_corner() -> None:
    method = CRAD(**TINY)
    (batch,) = Batches(GOOD, SIZE, 8)
    fine, coarse = method.feature_extractor(batch.images)
    joined = method.encoder_runner.encode(batch.images).maps[0]
    assert joined.shape[1] == sum(method.feature_extractor.channels)
    assert torch.equal(joined[:, : fine.shape[1]], fine)
    corners = joined[:, fine.shape[1] :, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert torch.allclose(corners, coarse[:, :, [0, 0, -1, -1], [0, -1, 0, -1]], atol=1e-5)


def test_the_map_is_an_average_and_the_score_a_further_one() -> None:
    shift = torch.zeros(1, 4, 8, 12)
    shift[0, :2, 4, 6] = torch.tensor([3.0, 4.0])
    features = torch.randn(1, 4, 8, 12)
    scores = CRADHead(Shifts(shift))(Embedded((features,)), 64, 96)
    distances = torch.zeros(1, 1, 8, 12)
    distances[0, 0, 4, 6] = 5.0
    wide = functional.interpolate(distances, size=(64, 96), mode="bilinear", align_corners=True)[
        0, 0
    ]
    assert scores.pixel[0, 30, 50].item() == pytest.approx(
        wide[20:41, 40:61].mean().item(), rel=1e-4
    )
    # At the border an average of what there is.
    assert scores.pixel[0, 63, 50].item() == pytest.approx(
        wide[53:64, 40:61].mean().item(), rel=1e-4, abs=1e-6
    )
    parts = functional.avg_pool2d(scores.pixel[None], 32, stride=1)
    assert scores.image.item() == pytest.approx(parts.max().item(), rel=1e-5)


def test_images_smaller_than_what_is_looked_at_have_a_score() -> None:
    scores = CRADHead(Shifts(torch.ones(1, 4, 3, 3)))(Embedded((torch.randn(2, 4, 3, 3),)), 24, 24)
    assert torch.allclose(scores.image, torch.full((2,), 2.0), atol=1e-4)


@pytest.mark.parametrize(
    "options", [{"blocks": 0}, {"nodes": 0}, {"lr_decay_epochs": 0}, {"grid_learning_rate": 0.0}]
)
def test_options_that_cannot_work(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="more than 0"):
        CRAD(**options)
