"""What every method keeps to, on a tiny network and on the default one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from flawmap import Inspector, Runtime
from flawmap.engine.batches import Batch, Batches
from flawmap.engine.convert import export_programs
from flawmap.errors import NotExportable, NotFitted, OptionError, WeightsMismatch
from flawmap.features.context import PooledNeighbourhood
from flawmap.features.registration import SpatialTransformerRegistration
from flawmap.methods import METHODS, make_method
from flawmap.methods.base import Method
from flawmap.methods.memory_base import MemoryMethod
from flawmap.methods.trained_base import TrainedMethod
from flawmap.runtime.preprocess import Preprocessing
from helpers import texture, with_defect

SIZE = Preprocessing(96, 128)
GOOD = [texture(seed, 96, 128) for seed in range(10)]
NEW = [texture(seed, 96, 128) for seed in range(20, 24)]
DEFECT = with_defect(NEW[0], row=30, column=90, radius=8)
BACKBONES = {"test_resnet": "random", "tf_efficientnet_lite0": "embedded"}
SMALL: dict[str, Any] = {
    "patchcore-official": {"coreset": 0.05, "context": PooledNeighbourhood(length=64)},
    "spade": {"neighbours": 3},
    "padim": {"channels": 30},
    "fr-patchcore": {
        "coreset": 0.05,
        "registration": SpatialTransformerRegistration(epochs=2, batch_size=8),
    },
    **{
        name: entry.presets["smoke"].options
        for name, entry in METHODS.items()
        if "smoke" in entry.presets
    },
    "ddad": {**METHODS["ddad"].presets["smoke"].options, "channel_multipliers": (1,)},
}
"""Options that make a method small enough for a test; a small coreset for those not named."""

TRAINED: dict[str, Any] = {
    "glass": {
        "epochs": 20,
        "batch_size": 5,
        "max_images_per_epoch": 10,
        "learning_rate": 2e-3,
        "adaptor_learning_rate": 1e-3,
        "hidden": 64,
    },
    "crad": {"epochs": 6},
    "ddad": {"epochs": 4},
    "vqflow": {"epochs": 30, "learning_rate": 1e-3, "warmup_epochs": 0},
}
"""Options under which methods that are trained are trained to something within a second or two."""

NAMES = [
    *METHODS,
    *(
        f"{name}:{preset}"
        for name, entry in METHODS.items()
        for preset, settings in entry.presets.items()
        if preset != entry.default_preset and settings.options and name not in SMALL
    ),
]
"""All methods, and behind a colon the other presets of those that need not be made small."""

pytestmark = pytest.mark.parametrize("name", NAMES)


def named(name: str) -> tuple[str, str | None]:
    """A method's name, and that of its preset."""
    method, _, preset = name.partition(":")
    return method, preset or None


def make(name: str, backbone: str, **options: Any) -> Method:
    torch.manual_seed(0)
    small = SMALL.get(name, {"coreset": 0.05})
    weights = BACKBONES[backbone]
    return make_method(
        *named(name), **{"backbone": backbone, "weights": weights, **small, **options}
    )


def remember_all(name: str) -> dict[str, float]:
    """Options under which an image that was seen is at no distance, where there are some."""
    if name == "spade":
        return {"neighbours": 1}
    if name == "padim" or isinstance(make_method(*named(name)), TrainedMethod):
        return {}
    return {"coreset": 1.0}


def batches(images: Sequence[np.ndarray], size: int = 4) -> Batches:
    return Batches(list(images), SIZE, size)


def images(arrays: Sequence[np.ndarray]) -> torch.Tensor:
    (batch,) = batches(arrays, len(arrays))
    return batch.images


@pytest.fixture(params=BACKBONES)
def backbone(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@cache
def fit_once(name: str, backbone: str) -> Method:
    return make(name, backbone).fit(batches(GOOD))


@pytest.fixture
def fitted(name: str, backbone: str) -> Method:
    return fit_once(name, backbone)


def test_scores_have_the_shapes_they_say(fitted: Method) -> None:
    scores = fitted.score(images(NEW))
    assert scores.image.shape == (4,)
    assert scores.pixel.shape == (4, 96, 128)
    assert (scores.pixel >= 0).all()
    assert torch.isfinite(scores.image).all()


def test_a_restored_method_scores_the_same_bit_for_bit(name: str, fitted: Method) -> None:
    state = {key: tensor.clone() for key, tensor in fitted.state_dict().items()}
    restored = type(fitted).from_options(fitted.options()).load_state_dict(state)
    assert restored.options() == fitted.options()
    for first, second in zip(fitted.score(images(NEW)), restored.score(images(NEW)), strict=True):
        assert torch.equal(first, second)


def test_the_same_seed_fits_the_same(name: str, backbone: str, fitted: Method) -> None:
    again = make(name, backbone).fit(batches(GOOD))
    first, second = fitted.state_dict(), again.state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_shards_add_up(name: str, backbone: str, fitted: Method) -> None:
    if not isinstance(fitted, MemoryMethod):
        pytest.skip("it is trained, by one machine")
    # Extracted by two, fitted by a third, as on three machines.
    shards = []
    for images_of_shard in (GOOD[:4], GOOD[4:]):
        method = make(name, backbone)
        assert isinstance(method, MemoryMethod)
        method.fit_features(batches(GOOD))
        shards.append(method.extract(batches(images_of_shard)))
    assert isinstance(method, MemoryMethod)
    method.fit_shards(shards)
    first, second = fitted.state_dict(), method.state_dict()
    # Vectors are the same ones; moments are sums, which round.
    same = torch.allclose if name == "padim" else torch.equal
    assert all(same(first[key], second[key]) for key in first)


def test_a_batch_is_its_images_one_by_one(fitted: Method) -> None:
    together = fitted.score(images(NEW))
    alone = [fitted.score(images([image])) for image in NEW]
    assert torch.allclose(together.image, torch.cat([score.image for score in alone]), rtol=1e-4)
    assert torch.allclose(
        together.pixel, torch.cat([score.pixel for score in alone]), rtol=1e-4, atol=1e-5
    )


def test_a_defect_outscores_good_parts_and_the_map_peaks_on_it(name: str) -> None:
    if name == "ddad":
        pytest.skip(
            "its training takes hours; tests/methods/test_ddad.py gives it a network that knows"
        )
    fitted = make(name, "tf_efficientnet_lite0", **TRAINED.get(name, {})).fit(batches(GOOD))
    good, defective = fitted.score(images(NEW)), fitted.score(images([DEFECT]))
    assert defective.image[0] > good.image.max()
    row, column = divmod(int(defective.pixel[0].argmax()), 128)
    # Within one patch (8 pixels) of the disc's edge.
    assert np.hypot(row - 30, column - 90) <= 8 + 8


def test_held_out_scores_are_those_of_a_method_that_never_saw_the_image(name: str) -> None:
    method = make(name, "test_resnet", **remember_all(name))
    if method.holdout_fraction:
        pytest.skip("the inspector sets images aside for it, as it would take a training for each")
    held_out = method.cross_fit_scores(batches(GOOD))
    assert len(held_out.image) == len(held_out.peak) == len(GOOD)
    for left_out in (0, 9):
        others = make(name, "test_resnet", **remember_all(name)).fit(
            batches(GOOD[:left_out] + GOOD[left_out + 1 :])
        )
        score = others.score(images([GOOD[left_out]]))
        # The registration was fitted to the image too; only the bank is without it.
        # flawmap keeps vectors in half precision, and its held-out scores are upper bounds.
        base = name.partition(":")[0]
        near = {"fr-patchcore": 1e-2, "flawmap": 2e-2}.get(base, 1e-4)
        assert held_out.image[left_out] == pytest.approx(float(score.image[0]), rel=near)
        assert held_out.peak[left_out] == pytest.approx(float(score.pixel.max()), rel=near)


def test_what_was_seen_is_at_no_distance_when_all_is_remembered(name: str) -> None:
    if not remember_all(name):
        pytest.skip("it remembers no images, only what they have in common")
    method = make(name, "test_resnet", **remember_all(name)).fit(batches(GOOD))
    # The network rounds differently in other batches, hence not quite zero.
    assert (
        method.score(images(GOOD[:4])).image.max() < 1e-3 * method.score(images([DEFECT])).image[0]
    )


def test_unfitted_refuses(name: str) -> None:
    method = make(name, "test_resnet")
    for ask in (lambda: method.score(images(NEW)), method.state_dict, method.scoring_module):
        with pytest.raises(NotFitted, match="call fit"):
            ask()


def test_a_memory_of_other_weights_is_refused(name: str, fitted: Method) -> None:
    state = {key: tensor.clone() for key, tensor in fitted.state_dict().items()}
    weights = next(key for key in state if key.startswith("backbone.") and state[key].ndim == 4)
    state[weights] += 0.01
    with pytest.raises(WeightsMismatch, match=r"fitted with weights \w+… of"):
        type(fitted).from_options(fitted.options()).load_state_dict(state)


def test_the_graph_agrees_on_any_number_of_images(name: str) -> None:
    fitted = fit_once(name, "test_resnet")
    if fitted.not_exportable:
        with pytest.raises(NotExportable, match=re.escape(fitted.not_exportable)):
            fitted.exportable_head()
        return
    programs = export_programs(fitted.encoder(), fitted.exportable_head(), 96, 128)
    look, compare = programs.encoder.module(), programs.head.module()
    for arrays in (NEW, [DEFECT]):
        image, pixel = compare(*look(images(arrays)))
        scores = fitted.score(images(arrays))
        assert torch.allclose(image, scores.image, rtol=1e-5)
        assert torch.allclose(pixel, scores.pixel, rtol=1e-4, atol=1e-5)


def test_batches_are_all_it_takes(name: str) -> None:
    first = make(name, "test_resnet").fit([Batch(images(GOOD), [""] * len(GOOD))])
    assert torch.isfinite(first.score(images(NEW)).image).all()


def test_a_saved_inspector_scores_the_same_in_torch_and_by_its_graph(
    name: str, tmp_path: Path
) -> None:
    options: dict[str, Any] = {
        "backbone": "test_resnet",
        "weights": "random",
        **SMALL.get(name, {"coreset": 0.05}),
    }
    method, preset = named(name)
    inspector = Inspector(method, preset=preset, size=(48, 64), **options).fit(GOOD)
    inspector.save(tmp_path / "part.flawmap")
    again = Inspector.load(tmp_path / "part.flawmap")
    first, second = inspector.inspect(DEFECT), again.inspect(DEFECT)
    assert again.name == method
    assert (first.score, first.p_value) == (second.score, second.p_value)
    assert np.array_equal(first.heatmap, second.heatmap)
    reason = inspector.method.not_exportable
    if reason:
        with pytest.raises(NotExportable, match=re.escape(reason)):
            Runtime.load(tmp_path / "part.flawmap")
        return
    by_graph = Runtime.load(tmp_path / "part.flawmap").inspect(DEFECT)
    assert by_graph.score == pytest.approx(first.score, rel=1e-4)
    assert np.allclose(by_graph.heatmap, first.heatmap, rtol=1e-3, atol=1e-4)


def test_at_a_smaller_stride_it_is_saved_and_runs_by_its_graph(name: str, tmp_path: Path) -> None:
    small = SMALL.get(name, {"coreset": 0.05})
    options: dict[str, Any] = {"backbone": "test_resnet", "weights": "random", "stride": 8}
    method, preset = named(name)
    inspector = Inspector(method, preset=preset, size=(48, 64), **small, **options).fit(GOOD)
    inspector.save(tmp_path / "part.flawmap")
    again = Inspector.load(tmp_path / "part.flawmap")
    expected = inspector.inspect(DEFECT)
    assert again.inspect(DEFECT).score == expected.score
    deepest = again.method.feature_extractor(torch.zeros(1, 3, 48, 64))[-1]
    assert deepest.shape[-2:] == (6, 8)
    if not inspector.method.not_exportable:
        by_graph = Runtime.load(tmp_path / "part.flawmap").inspect(DEFECT)
        assert by_graph.score == pytest.approx(expected.score, rel=1e-4)


def test_on_blocks_of_a_transformer_it_is_saved_and_runs_by_its_graph(
    name: str, tmp_path: Path
) -> None:
    method, preset = named(name)
    num_layers = len(make_method(method, preset).layers)
    options: dict[str, Any] = {
        "backbone": "test_vit3",
        "weights": "random",
        "layers": (1, 3, 5, 7)[-num_layers:],
        "stride": 16,
        **SMALL.get(name, {"coreset": 0.05}),
    }
    # DDAD halves its input, and half of it must be whole patches as well.
    inspector = Inspector(method, size=(64, 96), preset=preset, **options)
    if name == "fr-patchcore":
        with pytest.raises(OptionError, match="no transformer can stand between the stages"):
            inspector.fit(GOOD)
        return
    inspector.fit(GOOD).save(tmp_path / "part.flawmap")
    again = Inspector.load(tmp_path / "part.flawmap")
    expected = inspector.inspect(DEFECT)
    assert again.inspect(DEFECT).score == expected.score
    if not inspector.method.not_exportable:
        by_graph = Runtime.load(tmp_path / "part.flawmap").inspect(DEFECT)
        assert by_graph.score == pytest.approx(expected.score, rel=1e-4)
