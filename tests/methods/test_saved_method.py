from __future__ import annotations

from importlib.metadata import version
from typing import Any

import torch

from flawmap import Inspector
from flawmap.methods import make_method
from flawmap.methods.saved_method import (
    make_graph,
    make_manifest,
    method_to_arrays,
)
from flawmap.runtime.calibration import Budget, CalibrationSettings
from flawmap.runtime.certificate import golden_images
from flawmap.runtime.preprocess import Preprocessing
from helpers import TINY, texture

GOOD = [texture(seed) for seed in range(3)]


def test_a_graph_comes_with_golden_images_and_no_reason() -> None:
    inspector = Inspector(size=64, **TINY).fit(GOOD)
    golden = golden_images(GOOD[0], inspector.preprocessing)
    graph = make_graph(inspector.method, golden, inspector.preprocessing)
    assert {name.partition(".")[0] for name in graph.arrays} == {"graph", "golden"}
    assert graph.missing_reason == ""
    assert inspector.method.notes == []


def test_a_method_without_a_graph_says_why_in_the_file_and_in_its_notes() -> None:
    options: dict[str, Any] = {"backbone": "test_resnet", "weights": "random"}
    inspector = Inspector("spade", size=64, **options).fit(GOOD)
    golden = golden_images(GOOD[0], inspector.preprocessing)
    graph = make_graph(inspector.method, golden, inspector.preprocessing)
    assert graph.arrays == {}
    assert "SPADE cannot be a graph: each image chooses" in graph.missing_reason
    assert graph.missing_reason in inspector.method.notes[-1]


def test_the_state_of_a_method_has_a_prefix() -> None:
    inspector = Inspector(size=64, **TINY).fit(GOOD)
    arrays = method_to_arrays(inspector.method)
    state = inspector.method.state_dict()
    assert {f"method.{name}" for name in state} == set(arrays)
    vectors = torch.from_numpy(arrays["method.bank.vectors"])
    assert torch.equal(vectors, state["bank.vectors"])


def test_the_manifest_names_the_method_and_the_options_that_were_changed() -> None:
    options: dict[str, Any] = {"backbone": "test_resnet", "weights": "random", "coreset": 0.5}
    manifest = make_manifest(
        make_method("patchcore", **options),
        "patchcore",
        preprocessing=Preprocessing(64, 64),
        fitted_images=3,
        calibration=CalibrationSettings(Budget(0.1)),
    )
    assert (manifest.method_class, manifest.method_source) == ("patchcore", "")
    assert manifest.changed_options == options
    assert manifest.libraries["torch"] == version("torch")
