from __future__ import annotations

import torch

from flawmap.features.pooling import average_pool, average_pool_3x3, max_pool_3x3


def test_average_of_ones_counts_the_padding() -> None:
    ones = average_pool_3x3(torch.ones(1, 1, 3, 3))[0, 0]
    assert torch.allclose(ones, torch.tensor([[4, 6, 4], [6, 9, 6], [4, 6, 4]]) / 9)
    assert torch.allclose(
        average_pool_3x3(torch.ones(1, 1, 3, 3), count_padding=False), torch.tensor(1.0)
    )


def test_the_largest_neighbour_may_be_negative_at_the_border() -> None:
    assert torch.equal(max_pool_3x3(torch.full((1, 1, 3, 3), -2.0)), torch.full((1, 1, 3, 3), -2.0))


def test_a_window_of_five_is_the_mean_of_25_positions() -> None:
    features = torch.rand(1, 2, 7, 6, generator=torch.Generator().manual_seed(0))
    pooled = average_pool(features, 5)
    assert torch.allclose(pooled[..., 3, 2], features[..., 1:6, 0:5].mean(dim=(2, 3)))
    corner = features[..., :3, :3].sum(dim=(2, 3))
    assert torch.allclose(pooled[..., 0, 0], corner / 25)
    without_padding = average_pool(features, 5, count_padding=False)
    assert torch.allclose(without_padding[..., 0, 0], corner / 9)
    assert torch.equal(average_pool(features, 1), features)
