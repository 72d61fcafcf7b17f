from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from flawmap.errors import DatasetError, OptionError, TrainingError
from flawmap.features import registration_run
from flawmap.features.backbone import Backbone
from flawmap.features.registration import (
    NoRegistration,
    Registration,
    SpatialTransformerRegistration,
)
from flawmap.features.spatial_transformer import TransformModel, load_aligner, resample
from flawmap.support.options import from_dict, to_dict
from flawmap.support.progress import Event, listen
from flawmap.training.metrics import EpochMetrics
from helpers import texture

QUICK = SpatialTransformerRegistration(epochs=2, learning_rate=1e-3, batch_size=2)


def make_images(count: int = 6, height: int = 64, width: int = 64) -> Tensor:
    """Textures, each turned by its own angle."""
    grey = torch.stack([torch.from_numpy(texture(seed, height, width)) for seed in range(count)])
    angles = 0.44 * torch.arange(count).sin()
    rows = [angles.cos(), -angles.sin(), 0 * angles, angles.sin(), angles.cos(), 0 * angles]
    turns = torch.stack(rows, dim=1).unflatten(1, (2, 3))
    return resample(grey.permute(0, 3, 1, 2).float() / 128 - 1, turns, "reflection")


def batches(images: Tensor, size: int = 4) -> list[Tensor]:
    return list(images.split(size))


@pytest.fixture(scope="module")
def tiny() -> Backbone:
    return Backbone("test_resnet", weights="random")


@pytest.mark.parametrize("count", [2, 3, 7])
def test_every_image_meets_another_one_once_a_round(count: int) -> None:
    aligned: list[Tensor] = []

    class Spy(Backbone):
        def forward(self, images: Tensor) -> list[Tensor]:
            aligned.append(images)
            return super().forward(images)

    images = make_images(count)
    one_epoch = SpatialTransformerRegistration(epochs=1, batch_size=2)
    one_epoch.fit(Spy("test_resnet", weights="random"), batches(images), seed=1)
    # The first image went through the backbone alone, to measure its maps.
    halves = [batch.chunk(2) for batch in aligned[1:]]
    firsts = torch.cat([first for first, _ in halves])
    partners = torch.cat([partner for _, partner in halves])
    for side in (firsts, partners):
        seen = [(side == image).flatten(1).all(dim=1).sum().item() for image in images]
        assert seen == [1] * count
    assert not (firsts == partners).flatten(1).all(dim=1).any()


def test_it_registers_and_leaves_the_backbone_as_it_was(
    tiny: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses: list[float] = []
    unlikeness = registration_run._negative_cosine

    def heard(predicted: Tensor, seen: Tensor) -> Tensor:
        loss = unlikeness(predicted, seen)
        losses.append(loss.item())
        return loss

    monkeypatch.setattr(registration_run, "_negative_cosine", heard)
    before = tiny.fingerprint()
    aligner = SpatialTransformerRegistration(epochs=15, learning_rate=5e-3, batch_size=8).fit(
        tiny, batches(make_images(8)), seed=0
    )
    assert losses[-1] < losses[0] - 0.1
    assert tiny.fingerprint() == before
    assert all(
        parameter.grad is None and not parameter.requires_grad for parameter in tiny.parameters()
    )
    assert not [
        module for module in [*tiny.network.modules(), *aligner.modules()] if module.training
    ]
    assert not [module for module in tiny.modules() if module._forward_hooks]
    assert not [parameter for parameter in aligner.parameters() if parameter.requires_grad]
    transforms = aligner(tiny, make_images(2)).transforms
    assert not torch.allclose(transforms[-1], torch.eye(2, 3), atol=1e-4)


def test_stiffness_keeps_transforms_near_the_identity(tiny: Backbone) -> None:
    images = make_images(4)
    free, stiff = (
        SpatialTransformerRegistration(
            epochs=6, learning_rate=5e-3, deviation_weight=stiffness
        ).fit(tiny, batches(images), seed=0)
        for stiffness in (0.0, 1.0)
    )
    assert registration_run._deviation(
        stiff(tiny, images).transforms
    ) < registration_run._deviation(free(tiny, images).transforms)


def test_the_same_seed_gives_the_same_weights_and_touches_no_other_chance(tiny: Backbone) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    one, two, other = (
        QUICK.fit(tiny, batches(make_images(5)), seed).state_dict() for seed in (0, 0, 1)
    )
    load_aligner(one)
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(
        one["transformers.0.regression.1.weight"], other["transformers.0.regression.1.weight"]
    )


@pytest.mark.parametrize("mode", ["rotation_scale", "affine"])
def test_it_comes_back_from_its_tensors(tiny: Backbone, mode: TransformModel) -> None:
    images = make_images(3, 64, 96)
    aligner = SpatialTransformerRegistration(epochs=1, learning_rate=1e-2, transform=mode).fit(
        tiny, batches(images), seed=0
    )
    again = load_aligner(aligner.state_dict())
    assert again is not None
    expected = aligner(tiny, images)
    restored = again(tiny, images)
    assert all(map(torch.equal, expected.maps, restored.maps))
    assert all(map(torch.equal, expected.transforms, restored.transforms))
    assert not [tensor for tensor in again.state_dict().values() if tensor.is_meta]


def test_a_batch_is_its_images_one_by_one(tiny: Backbone) -> None:
    images = make_images(3)
    aligner = QUICK.fit(tiny, batches(images), seed=0)
    together = aligner(tiny, images).maps[-1]
    alone = torch.cat([aligner(tiny, image[None]).maps[-1] for image in images])
    assert torch.allclose(together, alone, rtol=1e-3, atol=1e-4)


def test_the_weights_of_the_best_round_are_kept(
    tiny: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loss that is made to grow: the first round is the best."""
    calls: list[int] = []
    unlikeness = registration_run._negative_cosine

    def growing(predicted: Tensor, seen: Tensor) -> Tensor:
        calls.append(1)
        return unlikeness(predicted, seen) + 10 * len(calls)

    images = batches(make_images(4))
    monkeypatch.setattr(registration_run, "_negative_cosine", growing)
    # At a constant rate one round alone would leave the same weights; the cosine begins with the
    # full rate too.
    first = (
        SpatialTransformerRegistration(epochs=1, learning_rate=1e-3)
        .fit(tiny, images, seed=0)
        .state_dict()
    )
    kept = (
        SpatialTransformerRegistration(epochs=3, learning_rate=1e-3)
        .fit(tiny, images, seed=0)
        .state_dict()
    )
    assert all(torch.equal(first[name], kept[name]) for name in first)


def test_two_images_are_enough_and_one_is_not(tiny: Backbone) -> None:
    assert QUICK.fit(tiny, batches(make_images(2), size=1), seed=0) is not None
    with pytest.raises(DatasetError, match="pairs of images and got 1; give two or more"):
        QUICK.fit(tiny, batches(make_images(1)), seed=0)


def test_a_loss_that_breaks_stops_with_the_round_named(tiny: Backbone) -> None:
    with pytest.raises(
        TrainingError,
        match=r"(nan|-?inf|infinite) in epoch \d, step 1 of 1; use a learning_rate be",
    ):
        SpatialTransformerRegistration(epochs=9, learning_rate=1e6).fit(
            tiny, batches(make_images(4)), seed=0
        )


@pytest.mark.parametrize(
    "options",
    [{"epochs": 0}, {"learning_rate": 0.0}, {"batch_size": 0}, {"deviation_weight": -1.0}],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="cannot be trained with"):
        SpatialTransformerRegistration(**options)


def test_progress_counts_batches_of_all_rounds(tiny: Backbone) -> None:
    heard: list[tuple[str, int, int]] = []
    with listen(lambda *step: heard.append(step)):
        QUICK.fit(tiny, batches(make_images(3)), seed=0)
    # Rounds begin where the one before ended.
    assert list(dict.fromkeys(heard)) == [("registering images", done, 4) for done in range(5)]


def test_no_registration_fits_nothing_and_loads_nothing(tiny: Backbone) -> None:
    assert NoRegistration().fit(tiny, [], seed=0) is None
    assert load_aligner({}) is None


@pytest.mark.parametrize(
    "part",
    [NoRegistration(), SpatialTransformerRegistration(transform="affine", learning_rate=0.01)],
)
def test_options_survive_json(part: Registration) -> None:
    assert from_dict(to_dict(part), Registration) == part  # type: ignore[type-abstract]


RESUMED = SpatialTransformerRegistration(epochs=4, learning_rate=1e-3, batch_size=2)


def fit(backbone: Backbone, folder: Path | None, stop_after: int = 9) -> list[Event]:
    """Train `RESUMED` on five images, stopped as by Ctrl+C; all events."""
    events: list[Event] = []

    def hear(event: Event) -> None:
        events.append(event)
        if isinstance(event, EpochMetrics) and event.number > stop_after:
            raise KeyboardInterrupt

    with listen(lambda *_: None, hear):
        RESUMED.fit(backbone, batches(make_images(5)), seed=3, folder=folder)
    return events


@pytest.mark.parametrize("stop_after", [1, 3])
def test_a_stopped_registration_resumes_to_the_same_bits(
    tiny: Backbone, tmp_path: Path, stop_after: int
) -> None:
    through = RESUMED.fit(tiny, batches(make_images(5)), seed=3).state_dict()
    with pytest.raises(KeyboardInterrupt):
        fit(tiny, tmp_path, stop_after)
    events = fit(tiny, tmp_path)
    assert f"The registration resumes after epoch {stop_after} of 4" in events
    numbers = [event.number for event in events if isinstance(event, EpochMetrics)]
    assert numbers == list(range(stop_after + 1, 5))
    # Now all epochs are done, so only the weights are taken from the checkpoint.
    resumed = RESUMED.fit(tiny, batches(make_images(5)), seed=3, folder=tmp_path).state_dict()
    assert resumed.keys() == through.keys()
    assert all(torch.equal(resumed[name], through[name]) for name in through)


def test_its_curves_and_history_are_kept(tiny: Backbone, tmp_path: Path) -> None:
    fit(tiny, tmp_path)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert '"epochs": 4' in (tmp_path / "history.json").read_text()
    assert list(tmp_path.glob("events.out.tfevents.*"))


@pytest.mark.parametrize(
    ("options", "seed"),
    [
        (SpatialTransformerRegistration(epochs=3, learning_rate=1e-3, batch_size=2), 3),
        (SpatialTransformerRegistration(epochs=4, learning_rate=2e-3, batch_size=2), 3),
        (RESUMED, 4),
    ],
)
def test_another_registration_starts_again(
    tiny: Backbone, tmp_path: Path, options: SpatialTransformerRegistration, seed: int
) -> None:
    fit(tiny, tmp_path)
    events: list[Event] = []
    with listen(lambda *_: None, events.append):
        aligner = options.fit(tiny, batches(make_images(5)), seed, tmp_path)
    assert any("the registration starts again" in str(event) for event in events)
    fresh = options.fit(tiny, batches(make_images(5)), seed).state_dict()
    assert all(torch.equal(aligner.state_dict()[name], fresh[name]) for name in fresh)
