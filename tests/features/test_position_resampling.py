from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from flawmap.engine.convert import to_openvino
from flawmap.features.position_resampling import ResampleByMatrices, cubic_matrix


@pytest.mark.parametrize(
    ("old", "new"),
    [((37, 37), (16, 11)), ((10, 10), (14, 9)), ((14, 14), (9, 20)), ((7, 7), (7, 7))],
)
def test_it_is_torchs_own_interpolation(old: tuple[int, int], new: tuple[int, int]) -> None:
    maps = torch.randn(2, 3, *old, generator=torch.Generator().manual_seed(0))
    expected = functional.interpolate(maps, size=new, mode="bicubic", antialias=True)
    with ResampleByMatrices():
        actual = functional.interpolate(maps, size=new, mode="bicubic", antialias=True)
    assert torch.allclose(actual, expected, atol=1e-5)


def test_other_interpolations_are_left_alone() -> None:
    maps = torch.rand(1, 1, 5, 5)
    with ResampleByMatrices():
        actual = functional.interpolate(maps, size=(8, 8), mode="bicubic")
    assert torch.equal(actual, functional.interpolate(maps, size=(8, 8), mode="bicubic"))


def test_a_constant_stays_constant() -> None:
    assert np.allclose(cubic_matrix(16, 37).sum(axis=1), 1, atol=1e-6)


class Resampling(torch.nn.Module):
    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        with ResampleByMatrices():
            return functional.interpolate(maps, size=(6, 9), mode="bicubic", antialias=True)


def test_openvino_can_hold_it() -> None:
    model = to_openvino(Resampling(), torch.zeros(1, 2, 14, 14))
    assert list(model.outputs[0].shape) == [1, 2, 6, 9]
