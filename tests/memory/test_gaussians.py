"""Moments against numpy, and Gaussians against a distance worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from flawmap.errors import OptionError
from flawmap.memory.gaussians import (
    Gaussians,
    Moments,
    add_vectors,
    bytes_needed,
    empty_moments,
    merge_shards,
)

CPU = torch.device("cpu")


def vectors_of(images: int, seed: int = 0) -> torch.Tensor:
    """(position, image, channel) = (5, images, 3)."""
    return torch.randn(5, images, 3, generator=torch.Generator().manual_seed(seed)).double()


def moments_of(vectors: torch.Tensor, **blocks: int) -> Moments:
    moments = empty_moments(vectors.shape[0], vectors.shape[2])
    for added in vectors.split(4, dim=1):
        add_vectors(moments, added, **blocks)
    return moments


def test_the_golden_distance() -> None:
    moments = empty_moments(positions=1, channels=2)
    moments["count"] += 2  # so that the covariance is the scatter itself
    moments["scatter"] += torch.tensor([[2.0, 1.0], [1.0, 2.0]])
    _, whitening = merge_shards([moments], 0.01, CPU)
    gaussians = Gaussians(torch.zeros(1, 1, 2), whitening, torch.tensor([0, 1]))
    distance = float(gaussians(torch.tensor([1.0, 2.0]).reshape(1, 2, 1, 1)))
    assert distance == pytest.approx(1.4106970, abs=1e-6)


@pytest.mark.parametrize("elements_per_block", [1, 18, 2**22])
def test_moments_are_those_of_all_vectors_whatever_the_blocks(elements_per_block: int) -> None:
    vectors = vectors_of(11)
    moments = moments_of(vectors, elements_per_block=elements_per_block)
    assert int(moments["count"]) == 11
    assert np.allclose(moments["mean"], vectors.mean(dim=1))
    for position in range(5):
        scatter = np.cov(vectors[position].numpy(), rowvar=False) * 10
        assert np.allclose(moments["scatter"][position], scatter)


def test_vectors_far_from_zero_cost_no_digits() -> None:
    vectors = vectors_of(9)
    near = moments_of(vectors)
    far = moments_of(vectors + 1e6)
    assert torch.allclose(near["scatter"], far["scatter"], rtol=1e-7, atol=1e-7)


def test_shards_merge_to_the_moments_of_all() -> None:
    vectors = vectors_of(10)
    together = merge_shards([moments_of(vectors)], 0.01, CPU)
    shards = [moments_of(shard) for shard in vectors.split([3, 1, 6], dim=1)]
    mean, whitening = merge_shards(shards, 0.01, CPU)
    assert torch.allclose(mean, together[0])
    assert torch.allclose(whitening, together[1], rtol=1e-5)


def test_a_ridge_that_is_lost_in_rounding() -> None:
    moments = moments_of(torch.zeros(1, 3, 2))
    moments["scatter"] -= 1e-12
    with pytest.raises(OptionError, match="a ridge of 1e-300 is too small"):
        merge_shards([moments], 1e-300, CPU)


def test_the_memory_of_the_papers_setting() -> None:
    assert bytes_needed(56 * 56, 550) == pytest.approx(11.4e9, rel=0.01)
