from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from flawmap.errors import OptionError
from flawmap.features.context import Gated, Neighbourhood, PooledNeighbourhood
from flawmap.features.pooling import average_pool, average_pool_3x3

FEATURES = torch.rand(2, 8, 5, 6, generator=torch.Generator().manual_seed(0)) * 3


def windows(count: int, length: int) -> list[slice]:
    """The windows of adaptive pooling: ⌊i n / E⌋ to ⌈(i + 1) n / E⌉."""
    return [slice(i * count // length, -(-(i + 1) * count // length)) for i in range(length)]


@pytest.mark.parametrize("length", [8, 9, 24, 72])
def test_a_pooled_neighbourhood_is_that_of_patchcores_code(length: int) -> None:
    pooled = PooledNeighbourhood(length=length).on_deepest(FEATURES)
    padded = np.pad(FEATURES.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)))
    for row, column in ((0, 0), (2, 3), (4, 5)):
        numbers = padded[:, :, row : row + 3, column : column + 3].reshape(2, -1)
        by_hand = np.stack(
            [numbers[:, window].mean(axis=1) for window in windows(72, length)], axis=1
        )
        np.testing.assert_allclose(pooled[:, :, row, column].numpy(), by_hand, rtol=1e-5)


def test_windows_of_nine_are_the_spatial_mean() -> None:
    assert torch.allclose(
        PooledNeighbourhood(length=8).on_deepest(FEATURES), average_pool_3x3(FEATURES), atol=1e-6
    )


def test_joined_layers_are_pooled_in_pairs() -> None:
    joined = PooledNeighbourhood(length=4).after_concat(FEATURES)
    assert torch.allclose(joined, FEATURES.reshape(2, 4, 2, 5, 6).mean(dim=2))
    assert PooledNeighbourhood(length=4).channel_blocks((8, 16)) == (4,)


@pytest.mark.parametrize("gate", ["dual_axis", "channels"])
def test_gates_leave_a_map_alone_that_is_the_same_everywhere(gate: Any) -> None:
    constant = torch.full((1, 4, 5, 6), 2.5)
    assert torch.allclose(Gated(gate=gate).on_deepest(constant), average_pool_3x3(constant))


def test_gates_treat_every_layer() -> None:
    assert not torch.allclose(Gated().on_shallower(FEATURES), average_pool_3x3(FEATURES))
    assert torch.equal(Gated().on_deepest(FEATURES), Gated().on_shallower(FEATURES))
    assert not torch.allclose(Gated().on_deepest(FEATURES), Neighbourhood().on_deepest(FEATURES))


def test_the_deepest_layer_may_have_another_window() -> None:
    wide = Neighbourhood(deepest_window=5, count_padding=False)
    assert torch.equal(
        wide.on_shallower(FEATURES), Neighbourhood(count_padding=False).on_deepest(FEATURES)
    )
    assert torch.equal(wide.on_deepest(FEATURES), average_pool(FEATURES, 5, count_padding=False))


@pytest.mark.parametrize("window", [0, -3, 4])
def test_a_window_without_a_middle_is_refused(window: int) -> None:
    with pytest.raises(OptionError, match=f"deepest_window={window}; use an odd number"):
        Neighbourhood(deepest_window=window)
