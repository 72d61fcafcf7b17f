from __future__ import annotations

from typing import Any

import torch

from flawmap.engine.batches import Batches
from flawmap.methods import METHODS
from flawmap.methods.crad import CRAD, CRADNetwork
from flawmap.methods.trained_run import MethodTraining
from flawmap.runtime.preprocess import Preprocessing
from helpers import texture

SIZE = Preprocessing(64, 64)
GOOD = [texture(seed) for seed in range(9)]


def training(**options: Any) -> MethodTraining[CRADNetwork]:
    """A training of CRAD on random maps, not yet begun."""
    smoke = dict(METHODS["crad"].presets["smoke"].options)
    method = CRAD(backbone="test_resnet", weights="random", **smoke | options)
    torch.manual_seed(0)
    return MethodTraining(method, method.networks([(6, 4, 5)]), [torch.rand(9, 6, 4, 5)], "abc")


def test_each_epoch_draws_its_images_anew_where_they_are_not_all_taken() -> None:
    seen: list[list[int]] = []

    class Looks(CRAD):
        def training_batches(self, cached: Any, order: Any, epoch: int) -> Any:
            seen.append(list(order))
            return super().training_batches(cached, order, epoch)

    options = dict(METHODS["crad"].presets["smoke"].options)
    Looks(
        backbone="test_resnet",
        weights="random",
        **options | {"epochs": 4, "max_images_per_epoch": 5},
    ).fit(Batches(GOOD, SIZE))
    assert [len(set(order)) for order in seen] == [5, 5, 5, 5]
    assert len({tuple(sorted(order)) for order in seen}) > 1


def test_learning_rates_follow_the_factor_of_the_epoch() -> None:
    run = training(epochs=3, lr_decay_epochs=1)
    rates = [
        [optimizer.param_groups[0]["lr"] for optimizer in run.optimizers] for _ in run.run_epochs()
    ]
    assert rates == [[1e-3, 0.1], [1e-3 * 0.1, 0.1 * 0.1], [1e-3 * 0.1**2, 0.1 * 0.1**2]]


def test_the_key_follows_options_and_images_but_not_the_number_of_epochs() -> None:
    key = training(epochs=3).resume_key()
    assert training(epochs=4).resume_key() == key
    assert training(epochs=3, seed=1).resume_key() != key
    assert training(epochs=3, batch_size=3).resume_key() != key
