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
    untaught, taught = fit(epochs=1), fit(epochs=1, adapt_epochs=2, adapt_learning_rate=1e-3)
    original = untaught.feature_extractor.fingerprint()
    assert untaught.trained_networks().adapted.fingerprint() == original
    assert taught.trained_networks().adapted.fingerprint() != original
    assert taught.feature_extractor.fingerprint() == original
    for name, tensor in untaught.trained_networks().unet.state_dict().items():
        assert torch.equal(tensor, taught.trained_networks().unet.state_dict()[name])
    assert [epoch.losses["features"] > 0 for epoch in taught.history_] == [False, True, True]
    assert taught.history_[-1].losses["features"] < taught.history_[-2].losses["features"]


def test_stopped_while_the_backbone_is_adapted_it_goes_on_to_the_same_bit(tmp_path: Path) -> None:
    def stop(news: Event) -> None:
        if isinstance(news, EpochMetrics) and news.number == 3:
            raise KeyboardInterrupt

    def begin() -> DDAD:
        return DDAD(**TINY | {"epochs": 1, "adapt_epochs": 3})

    with listen(lambda *_: None, stop), pytest.raises(KeyboardInterrupt):
        begin().fit(Batches(GOOD, SIZE), tmp_path)
    through, again = begin().fit(Batches(GOOD, SIZE)), begin()
    heard: list[Event] = []
    with listen(lambda *_: None, heard.append):
        again.fit(Batches(GOOD, SIZE), tmp_path)
    assert "The training resumes after epoch 2 of 4" in heard
    one, other = through.fitted_state(), again.fitted_state()
    assert all(torch.equal(one[name], other[name]) for name in one)


class Asked(torch.nn.Module):
    """Notes at which levels it is asked for noise."""

    def __init__(self) -> None:
        super().__init__()
        self.levels: list[int] = []

    def forward(self, noisy: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        self.levels += levels.tolist()
        return noisy


def test_noise_is_learned_up_to_the_last_of_the_levels() -> None:
    method = fit(timesteps=400)
    asked = Asked()
    method.trained_networks().unet = cast("UNet", asked)
    method.loss(method.trained_networks(), [torch.zeros(5000, 3, 2, 2)])
    assert (min(asked.levels), max(asked.levels)) == (0, 399)


def test_each_is_adapted_towards_another_image() -> None:
    method, images = (
        DDAD(**TINY | {"epochs": 1, "adapt_epochs": 1}),
        torch.arange(8.0).reshape(8, 1, 1, 1).expand(8, 3, 2, 2),
    )
    for one, other in method.training_batches([images], range(8), epoch=2):
        assert not (one == other).any()
    assert all(len(lesson) == 1 for lesson in method.training_batches([images], range(8), epoch=1))


def test_the_score_does_not_depend_on_the_batch_and_not_on_chance() -> None:
    method = fit()
    (batch,) = Batches(GOOD, SIZE, 8)
    together = method.score(batch.images)
    assert torch.equal(together.image, method.score(batch.images).image)
    alone = method.score(batch.images[3:4])
    assert torch.allclose(together.image[3:4], alone.image, rtol=1e-4)


def test_pixels_are_weighed_by_good_images() -> None:
    method = fit()
    mender = method.trained_networks()
    apart = [mender.distance_maps(batch.images) for batch in Batches(GOOD, SIZE, 4)]
    by_pixels, by_features = (torch.cat([each[which] for each in apart]).max() for which in (0, 1))
    assert mender.balance.item() == pytest.approx((by_features / by_pixels).item(), rel=1e-4)
    (batch,) = Batches(GOOD[:1], SIZE)
    without = DDADHead(mender, 0.0, AnomalyMap(0))(Embedded((batch.images,)), 64, 64).pixel
    whole = DDADHead(mender, 2.0, AnomalyMap(0))(Embedded((batch.images,)), 64, 64).pixel
    one = mender.distance_maps(batch.images)[0] * 2 * mender.balance
    wide = torch.nn.functional.interpolate(one[:, None], (64, 64), mode="bilinear")[:, 0]
    assert torch.allclose(whole - without, wide, atol=1e-5)


class Knowing(torch.nn.Module):
    """Tells noise as a UNet would that had learned one good image to perfection."""

    def __init__(self, good: torch.Tensor) -> None:
        super().__init__()
        self.good = good

    def forward(self, noisy: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        share = alpha_bar(levels)
        return (noisy - share.sqrt() * self.good) / (1 - share).sqrt()


def test_what_no_good_image_has_is_mended_and_the_map_peaks_on_it() -> None:
    method = fit(downscale=1)
    mender, (batch,) = method.trained_networks(), Batches(GOOD[:1], SIZE)
    good = batch.images
    mender.unet = cast("UNet", Knowing(mender.to_working_size(good)))
    method.on_train_end(mender, [good])
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
