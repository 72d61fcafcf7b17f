from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from flawmap.engine.batches import Batches
from flawmap.errors import OptionError
from flawmap.features.discriminator import Adaptor, Discriminator
from flawmap.features.gradient_ascent import gradient_ascent, truncated_projection
from flawmap.methods import glass
from flawmap.methods.glass import GLASS, GLASSNetworks
from flawmap.runtime.preprocess import Preprocessing
from helpers import texture

SIZE = Preprocessing(64, 64, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
GOOD = [texture(seed) for seed in range(8)]
TINY: dict[str, Any] = {
    "backbone": "test_resnet",
    "weights": "random",
    "hidden": 16,
    "batch_size": 4,
    "max_images_per_epoch": 8,
}


def networks(width: int = 12) -> GLASSNetworks:
    torch.manual_seed(0)
    return GLASSNetworks(Adaptor(width, 1.0), Discriminator(width, 8))


def test_the_loss_falls() -> None:
    method = GLASS(**TINY, epochs=12, learning_rate=3e-3, adaptor_learning_rate=1e-3)
    method.fit(Batches(GOOD, SIZE))
    first, last = method.history_[0], method.history_[-1]
    assert last.loss < 0.9 * first.loss
    assert last.losses["painted"] < first.losses["painted"]


@pytest.mark.parametrize("distribution", ["manifold", "hypersphere"])
def test_made_up_vectors_lie_in_their_shell(
    distribution: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = GLASS(**TINY, distribution=distribution, epochs=1, ascent_steps=7, noise_std=0.3)
    made: list[tuple[dict[str, Any], torch.Tensor]] = []

    def watch(logits: Any, vectors: Any, project: partial[Any], *steps: Any) -> torch.Tensor:
        ascended = gradient_ascent(logits, vectors, project, *steps)
        made.append((project.keywords, ascended))
        return ascended

    monkeypatch.setattr("flawmap.methods.glass.gradient_ascent", watch)
    method.fit(Batches(GOOD, SIZE))
    assert len(made) == 2
    for shell, ascended in made:
        radii = (ascended - shell["centres"]).norm(dim=1)
        assert (radii >= shell["near"] * (1 - 1e-4)).all()
        assert (radii <= shell["far"] * (1 + 1e-4)).all()
        if distribution == "manifold":
            assert (shell["near"], shell["far"]) == (0.5, 1.0)
        else:
            assert shell["far"] == 2 * shell["near"]


def test_the_hypersphere_reaches_as_far_as_three_quarters_of_the_normal_vectors() -> None:
    normal, painted = torch.zeros(80, 3), torch.zeros(20, 3)
    normal[:, 0], painted[:, 1] = torch.linspace(0, 1, 80), torch.linspace(0, 1, 20)
    assert glass._radius_p75(normal, painted).item() == pytest.approx(0.75, abs=0.02)


def test_ascended_vectors_are_detached_and_the_adaptor_has_a_gradient() -> None:
    method, both = GLASS(**TINY), networks()
    grid = torch.randn(2, 4, 4, 12)
    losses = method.loss(both, [grid, grid + 1, torch.ones(2, 32, 32), grid.mean(dim=0)])
    losses["ascended"].backward()
    assert both.adaptor.linear.weight.grad is not None
    assert both.adaptor.linear.weight.grad.abs().max() > 0


def test_the_way_up_leaves_no_trace_in_the_running_statistics() -> None:
    method, both = GLASS(**TINY, ascent_steps=10), networks().train()
    normal = torch.randn(50, 12)
    running_mean = both.discriminator.norm.get_buffer("running_mean")
    before = running_mean.clone()
    project = partial(
        truncated_projection, centres=normal, near=torch.tensor(0.5), far=torch.tensor(1.0)
    )
    method._ascend(both.discriminator, normal, project)
    assert torch.equal(running_mean, before)
    assert both.discriminator.training


def test_vectors_are_scaled_to_the_spread_asked_for() -> None:
    for spread in (1.0, 4.0):
        method = GLASS(**TINY, epochs=1, target_rms=spread).fit(Batches(GOOD, SIZE))
        assert isinstance(method, GLASS)
        vectors = method.trained_networks().adaptor.scale * torch.cat(
            [method.encoder_runner.encode(b.images).maps[0] for b in Batches(GOOD, SIZE)]
        )
        vectors = vectors.flatten(0, 2)
        mean_norm = (vectors - vectors.mean(dim=0)).square().sum(dim=1).mean().sqrt()
        assert mean_norm.item() == pytest.approx(spread, rel=1e-3)
    as_they_come = GLASS(**TINY, epochs=1, target_rms=None).fit(Batches(GOOD, SIZE))
    assert as_they_come.fitted_state()["networks.adaptor.scale"] == 1


def test_vectors_are_as_long_as_the_layers_have_channels() -> None:
    black = torch.zeros(1, 3, 64, 64)
    method = GLASS(**TINY)
    (grid,) = method.encoder_runner.encode(black).maps
    assert grid.shape[-1] == sum(method.feature_extractor.channels)
    (shorter,) = GLASS(**TINY, embedding_dim=10).encoder_runner.encode(black).maps
    assert shorter.shape == (1, 8, 8, 10)


@pytest.mark.parametrize("evenly", [True, False])
def test_the_spectrum_chooses_where_it_is_left_to(
    evenly: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []

    def rule(image: np.ndarray) -> bool:
        seen.append(image)
        return evenly

    monkeypatch.setattr(glass, "is_hypersphere", rule)
    method = GLASS(**TINY, epochs=1, distribution="auto").fit(Batches(GOOD, SIZE))
    assert isinstance(method, GLASS)
    assert method.distribution_ == ("hypersphere" if evenly else "manifold")
    assert method.distribution_ in method.notes[0]
    assert method.options()["distribution"] == "auto"
    # The mean image comes in grey levels, whatever it was prepared with.
    mean = np.mean([image.astype(np.float32) for image in GOOD], axis=0)
    halved = (mean / 255 - 0.5) / 0.5
    network = method.feature_extractor
    standardised = halved * np.array(network.std) + np.array(network.mean)
    assert np.allclose(seen[0], 255 * standardised, atol=1e-2)


def test_its_head_is_the_formula() -> None:
    method = GLASS(**TINY, epochs=1).fit(Batches(GOOD, SIZE))
    (batch,) = Batches(GOOD, SIZE, 8)
    grid, both = method.encoder_runner.encode(batch.images).maps[0], method.trained_networks()
    adapted = functional.linear(
        grid * both.adaptor.scale, both.adaptor.linear.weight, both.adaptor.linear.bias
    )
    inner = functional.linear(
        adapted, both.discriminator.inner.weight, both.discriminator.inner.bias
    )
    norm = both.discriminator.norm
    mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
    inner = (inner - mean) / (variance + norm.eps).sqrt() * norm.weight + norm.bias
    inner = torch.where(inner > 0, inner, 0.2 * inner)
    anomaly = torch.sigmoid(inner @ both.discriminator.last.weight[0])
    assert torch.allclose(method.score(batch.images).image, anomaly.amax(dim=(1, 2)), atol=1e-5)


@pytest.mark.parametrize(
    "options", [{"target_rms": 0.0}, {"noise_std": 0.0}, {"ascent_steps": 0}, {"embedding_dim": 0}]
)
def test_options_that_cannot_work(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="more than 0"):
        GLASS(**options)
