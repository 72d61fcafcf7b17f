from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from flawmap.errors import OptionError, WeightsError, WeightsUnavailable
from flawmap.features.backbone import Backbone


@pytest.fixture(scope="module")
def tiny() -> Backbone:
    return Backbone("test_resnet", weights="random")


def test_weights_from_a_file_of_the_full_network(tiny: Backbone, tmp_path: Path) -> None:
    save_file({**tiny.weights(), "fc.weight": torch.zeros(3)}, tmp_path / "tiny.safetensors")
    assert (
        Backbone("test_resnet", weights=tmp_path / "tiny.safetensors").fingerprint()
        == tiny.fingerprint()
    )


def test_no_network_has_other_embedded_weights() -> None:
    with pytest.raises(OptionError, match="no weights of test_resnet come embedded"):
        Backbone("test_resnet", weights="embedded")


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(WeightsUnavailable, match=r"nowhere\.safetensors: no such file"):
        Backbone("test_resnet", weights="nowhere.safetensors")


def test_a_file_that_is_no_safetensors(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(b"pickle")
    with pytest.raises(WeightsError, match="not a safetensors file"):
        Backbone("test_resnet", weights=tmp_path / "weights.pth")


def test_weights_of_another_network(tiny: Backbone) -> None:
    with pytest.raises(WeightsError, match=r"lacks \d+ of the network's"):
        Backbone("resnet18", weights=tiny.weights())


def test_weights_of_another_shape(tiny: Backbone) -> None:
    weights = tiny.weights() | {"layer1.0.conv1.weight": torch.zeros(1, 2, 3, 3)}
    with pytest.raises(WeightsError, match=r"is \(1, 2, 3, 3\), the network needs"):
        Backbone("test_resnet", weights=weights)
