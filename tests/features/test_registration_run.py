from __future__ import annotations

import pytest
import torch
from torch.nn import functional
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR

from flawmap.features import registration_run


def test_the_loss_is_the_mean_cosine_of_both_directions() -> None:
    predicted, seen = torch.randn(4, 5, 2, 3), torch.randn(4, 5, 2, 3)
    expected = -functional.cosine_similarity(predicted[:2], seen[2:], dim=1).mean()
    other = -functional.cosine_similarity(predicted[2:], seen[:2], dim=1).mean()
    assert registration_run._negative_cosine(predicted, seen) == pytest.approx(
        float(expected / 2 + other / 2), abs=1e-6
    )


@pytest.mark.parametrize("epochs", [1, 2, 7, 50])
def test_learning_rates_are_those_of_torch_bit_for_bit(epochs: int) -> None:
    optimizer = SGD([torch.zeros(1, requires_grad=True)], 1e-4)
    schedule = CosineAnnealingLR(optimizer, epochs)
    expected = []
    for _ in range(epochs):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert registration_run._cosine_rates(1e-4, epochs) == expected
