from __future__ import annotations

import pytest
import torch

from flawmap.features.feature_grid import (
    CoordinateHead,
    FeatureGrid,
    InvertedResidual,
    refine,
    refinement_weight,
)


def test_a_constant_grid_is_constant_everywhere() -> None:
    grid = FeatureGrid(3, 8)
    with torch.no_grad():
        grid.nodes[:] = torch.tensor([1.0, -2.0, 5.0])[None, :, None, None]
    positions = 2 * torch.rand(4, 5, 6, 2, generator=torch.Generator().manual_seed(0)) - 1
    positions[0, 0, 0], positions[0, 0, 1] = torch.tensor([1.0, 1.0]), torch.tensor([-1.0, 1.0])
    sampled = grid(positions)
    assert sampled.shape == (4, 3, 5, 6)
    assert torch.allclose(
        sampled, torch.tensor([1.0, -2.0, 5.0])[None, :, None, None].expand_as(sampled), atol=1e-6
    )


def test_a_node_gives_its_own_features_and_the_middle_their_mean() -> None:
    grid = FeatureGrid(1, 2)
    with torch.no_grad():
        grid.nodes[0, 0] = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    # Without corners aligned the nodes of a grid of two lie at ±1/2; first comes along, then down.
    positions = torch.tensor([[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [0.0, 0.0]])[:, None, None]
    assert torch.allclose(grid(positions).flatten(), torch.tensor([1.0, 2.0, 3.0, 2.5]))


def test_images_are_sampled_as_if_alone() -> None:
    torch.manual_seed(0)
    grid, positions = FeatureGrid(5, 4), 2 * torch.rand(3, 4, 6, 2) - 1
    together = grid(positions)
    assert torch.equal(together, torch.cat([grid(first) for first in positions.split(1)]))


def test_positions_lie_within_the_grid() -> None:
    positions = CoordinateHead(3)(100 * torch.randn(2, 3, 4, 5))
    assert positions.shape == (2, 4, 5, 2)
    assert positions.abs().max() <= 1


def test_a_block_adds_to_what_came() -> None:
    block = InvertedResidual(6, 4).eval()
    features = torch.randn(2, 6, 5, 7)
    assert not torch.equal(block(features), features)
    torch.nn.init.zeros_(block.projection[1].get_parameter("weight"))
    assert torch.equal(block(features), features)


# Golden numbers of methods.md, appendix A: two vectors of 16 channels at a cosine of 0.5.
@pytest.mark.parametrize(("mse", "alike"), [(4.0, 0.65), (12.0, 0.35)])
def test_how_alike_two_maps_are(mse: float, alike: float) -> None:
    first, other = torch.zeros(1, 16, 1, 1), torch.zeros(1, 16, 1, 1)
    # At equal lengths r, |a − b|² = 2 r² (1 − cos) = r², which is 16 times the mean over channels.
    length = (16 * mse) ** 0.5
    first[0, 0], other[0, 0], other[0, 1] = length, length / 2, length * 0.75**0.5
    assert (first - other).square().mean() == pytest.approx(mse, rel=1e-5)
    assert refinement_weight(first, other).item() == pytest.approx(alike, abs=1e-5)
    mixed = refine(first, other)
    assert torch.allclose(mixed, alike * other + (1 - alike) * first, atol=1e-5)


def test_the_step_in_it_has_no_gradient() -> None:
    reconstructed = torch.randn(1, 4, 2, 2, requires_grad=True)
    features = reconstructed.detach().clone()
    # At a cosine of 1 the rest has no slope either.
    refinement_weight(reconstructed, features).sum().backward()
    assert reconstructed.grad is not None
    assert reconstructed.grad.abs().max() < 1e-5
