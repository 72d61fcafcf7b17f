from __future__ import annotations

import pytest
import torch

from flawmap.features.aggregation import ChannelAggregation
from flawmap.features.context import Neighbourhood
from flawmap.features.partial_attention import PartialSelfAttention
from flawmap.methods import make_method
from flawmap.methods.improved_patchcore import improved_patchcore
from flawmap.methods.patchcore import PatchCore
from flawmap.methods.saved_method import make_manifest
from flawmap.runtime.calibration import Budget, CalibrationSettings
from flawmap.runtime.preprocess import Preprocessing


def test_half_attends_and_a_tenth_is_kept() -> None:
    method = improved_patchcore()
    assert method.context == PartialSelfAttention(ratio=0.5)
    assert method.reducer == ChannelAggregation(ratio=0.1)
    assert method.reducer_scope == "bank"
    assert improved_patchcore(context=Neighbourhood()).context == Neighbourhood()


def test_the_preset_paper_is_to_the_letter() -> None:
    options = make_method("improved-patchcore", "paper").options()
    assert options == improved_patchcore().options()


def test_scaled_is_the_default() -> None:
    method = make_method("improved-patchcore")
    assert method.options() == make_method("improved-patchcore", "scaled").options()
    assert isinstance(method, PatchCore)
    expected = PartialSelfAttention(0.5, attend="cosine", temperature=0.1, pooling="mean")
    assert method.context == expected
    assert (method.reducer_scope, method.stride) == ("bank", 8)


@pytest.mark.parametrize(("preset", "count"), [("paper", 15), ("scaled", 76)])
def test_how_many_numbers_of_the_default_backbone_are_kept(preset: str, count: int) -> None:
    method = make_method("improved-patchcore", preset)
    assert isinstance(method, PatchCore)
    assert len(method.reducer.fit(torch.empty(1, 152), (40, 56, 56), 0)(torch.ones(152))) == count


@pytest.mark.parametrize("preset", ["paper", "scaled"])
def test_a_saved_file_names_what_differs_from_the_default(preset: str) -> None:
    manifest = make_manifest(
        make_method("improved-patchcore", preset, backbone="test_resnet", weights="random"),
        "improved-patchcore",
        preprocessing=Preprocessing(64, 64),
        fitted_images=3,
        calibration=CalibrationSettings(Budget(0.1)),
    )
    changed: dict[str, object] = {"backbone": "test_resnet", "weights": "random"}
    if preset == "paper":
        changed |= {"context.attend": "tokens", "context.pooling": "max"}
        changed |= {"reducer.min_channels": 1, "stride": None}
    assert manifest.changed_options == changed
