from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch

from flawmap.engine.batches import Batches
from flawmap.errors import OptionError
from flawmap.features.anomaly_map import AnomalyMap
from flawmap.features.diffusion import alpha_bar
from flawmap.features.unet import UNet
from flawmap.methods import METHODS
from flawmap.methods.ddad import DDAD
from flawmap.methods.ddad_head import DDADHead
from flawmap.runtime.preprocess import Preprocessing
from flawmap.support.progress import Event, listen
from flawmap.support.tensors import Embedded
from flawmap.training.metrics import EpochMetrics
from helpers import texture

SIZE = Preprocessing(64, 64, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
GOOD = [texture(seed) for seed in range(8)]
TINY: dict[str, Any] = {
    **METHODS["ddad"].presets["smoke"].options,
    "backbone": "test_resnet",
    "weights": "random",
}


def fit(**options: Any) -> DDAD:
    method = DDAD(**TINY | options).fit(Batches(GOOD, SIZE))
    assert isinstance(method, DDAD)
    return method


def test_the_loss_falls() -> None:
    history = fit(epochs=6, learning_rate=2e-3).history_
    assert history[-1].losses["noise"] < 0.9 * history[0].losses["noise"]


def test_the_backbone_is_adapted_after_the_unet_and_not_before() -> None:
    plain, adapted = fit(epochs=1), fit(epochs=1, adapt_epochs=2, adapt_learning_rate=1e-3)
    original = plain.feature_extractor.fingerprint()
    assert plain.trained_networks().adapted.fingerprint() == original
    assert adapted.trained_networks().adapted.fingerprint() != original
    assert adapted.feature_extractor.fingerprint() == original
    for name, tensor in plain.trained_networks().unet.state_dict().items():
        assert torch.equal(tensor, adapted.trained_networks().unet.state_dict()[name])
    assert [epoch.losses["features"] > 0 for epoch in adapted.history_] == [False, True, True]
    assert adapted.history_[-1].losses["features"] < adapted.history_[-2].losses["features"]


def test_stopped_while_the_backbone_is_adapted_it_goes_on_to_the_same_bit(tmp_path: Path) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, EpochMetrics) and event.number == 3:
            raise KeyboardInterrupt

    def begin() -> DDAD:
        return DDAD(**TINY | {"epochs": 1, "adapt_epochs": 3})

    with listen(lambda *_: None, stop), pytest.raises(KeyboardInterrupt):
        begin().fit(Batches(GOOD, SIZE), tmp_path)
    at_once, again = begin().fit(Batches(GOOD, SIZE)), begin()
    heard: list[Event] = []
    with listen(lambda *_: None, heard.append):
        again.fit(Batches(GOOD, SIZE), tmp_path)
    assert "The training resumes after epoch 2 of 4" in heard
    first, other = at_once.fitted_state(), again.fitted_state()
    assert all(torch.equal(first[name], other[name]) for name in first)


class Recorder(torch.nn.Module):
    """Notes the timesteps at which noise is predicted."""

    def __init__(self) -> None:
        super().__init__()
        self.levels: list[int] = []

    def forward(self, noisy: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        self.levels += levels.tolist()
        return noisy


def test_noise_is_learned_up_to_the_last_of_the_levels() -> None:
    method = fit(timesteps=400)
    recorder = Recorder()
    method.trained_networks().unet = cast("UNet", recorder)
    method.loss(method.trained_networks(), [torch.zeros(5000, 3, 2, 2)])
    assert (min(recorder.levels), max(recorder.levels)) == (0, 399)


def test_each_is_adapted_towards_another_image() -> None:
    method, images = (
        DDAD(**TINY | {"epochs": 1, "adapt_epochs": 1}),
        torch.arange(8.0).reshape(8, 1, 1, 1).expand(8, 3, 2, 2),
    )
    for first, other in method.training_batches([images], range(8), epoch=2):
        assert not (first == other).any()
    assert all(len(batch) == 1 for batch in method.training_batches([images], range(8), epoch=1))


def test_the_score_does_not_depend_on_the_batch_and_not_on_chance() -> None:
    method = fit()
    (batch,) = Batches(GOOD, SIZE, 8)
    together = method.score(batch.images)
    assert torch.equal(together.image, method.score(batch.images).image)
    alone = method.score(batch.images[3:4])
    assert torch.allclose(together.image[3:4], alone.image, rtol=1e-4)


def test_pixels_are_weighed_by_good_images() -> None:
    method = fit()
    reconstructor = method.trained_networks()
    distances = [reconstructor.distance_maps(batch.images) for batch in Batches(GOOD, SIZE, 4)]
    by_pixels, by_features = (
        torch.cat([pair[which] for pair in distances]).max() for which in (0, 1)
    )
    assert reconstructor.balance.item() == pytest.approx((by_features / by_pixels).item(), rel=1e-4)
    (batch,) = Batches(GOOD[:1], SIZE)
    without = DDADHead(reconstructor, 0.0, AnomalyMap(0))(Embedded((batch.images,)), 64, 64).pixel
    combined = DDADHead(reconstructor, 2.0, AnomalyMap(0))(Embedded((batch.images,)), 64, 64).pixel
    first = reconstructor.distance_maps(batch.images)[0] * 2 * reconstructor.balance
    wide = torch.nn.functional.interpolate(first[:, None], (64, 64), mode="bilinear")[:, 0]
    assert torch.allclose(combined - without, wide, atol=1e-5)


class Oracle(torch.nn.Module):
    """Predicts noise as a UNet does that knows one good image perfectly."""

    def __init__(self, good: torch.Tensor) -> None:
        super().__init__()
        self.good = good

    def forward(self, noisy: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        fraction = alpha_bar(levels)
        return (noisy - fraction.sqrt() * self.good) / (1 - fraction).sqrt()


def test_what_no_good_image_has_is_removed_and_the_map_peaks_on_it() -> None:
    method = fit(downscale=1)
    reconstructor, (batch,) = method.trained_networks(), Batches(GOOD[:1], SIZE)
    good = batch.images
    reconstructor.unet = cast("UNet", Oracle(reconstructor.to_working_size(good)))
    method.on_train_end(reconstructor, [good])
    defective = good.clone()
    defective[:, :, 20:28, 40:48] = 1.0
    before, after = method.score(good), method.score(defective)
    assert after.image > 2 * before.image
    row, column = divmod(int(after.pixel[0].argmax()), 64)
    assert 16 <= row < 32
    assert 36 <= column < 52


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"base_channels": 6, "heads": 4}, "divisible by heads"),
        ({"layers": (2,)}, "two layers or more"),
        ({"precision": "int8"}, "compute in f32"),
        ({"downscale": 0}, "more than 0"),
        ({"timesteps": 200}, "timesteps=200; use 250"),
        ({"timesteps": 1001}, "to 1000"),
    ],
)
def test_options_that_cannot_work(options: dict[str, Any], why: str) -> None:
    with pytest.raises(OptionError, match=why):
        DDAD(**options)
