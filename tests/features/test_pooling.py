from __future__ import annotations

import torch

from flawmap.features.pooling import average_pool_3x3, max_pool_3x3


def test_average_of_ones_counts_the_padding() -> None:
    ones = average_pool_3x3(torch.ones(1, 1, 3, 3))[0, 0]
    assert torch.allclose(ones, torch.tensor([[4, 6, 4], [6, 9, 6], [4, 6, 4]]) / 9)
    assert torch.allclose(
        average_pool_3x3(torch.ones(1, 1, 3, 3), count_padding=False), torch.tensor(1.0)
    )


def test_the_largest_neighbour_may_be_negative_at_the_border() -> None:
    assert torch.equal(max_pool_3x3(torch.full((1, 1, 3, 3), -2.0)), torch.full((1, 1, 3, 3), -2.0))
