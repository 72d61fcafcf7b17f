from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from flawmap.errors import OptionError
from flawmap.memory.bank import Bank, Maximum, Reweighted, TopShare
from flawmap.memory.neighbours import Nearest

RNG = torch.Generator().manual_seed(0)
VECTORS = torch.rand(40, 6, generator=RNG)
IMAGES = torch.arange(40) // 8
GRID = torch.rand(3, 4, 5, 6, generator=RNG)


def test_a_bank_of_everything_knows_its_own_patches() -> None:
    bank = Bank(VECTORS, IMAGES)
    compared = bank(VECTORS.reshape(5, 2, 4, 6))
    assert torch.equal(compared.distances, torch.zeros(5, 2, 4))


def test_what_is_passed_over_is_as_if_it_were_not_there() -> None:
    passed_over = IMAGES == 2
    others = Bank(VECTORS, IMAGES, VECTORS.square().sum(dim=1).masked_fill(passed_over, torch.inf))
    remaining = Bank(VECTORS[~passed_over], IMAGES[~passed_over])
    assert len(others) == len(remaining) == 32
    assert torch.equal(others(GRID).distances, remaining(GRID).distances)
    assert not set(others(GRID).rows.flatten().tolist()) & set(range(16, 24))
    for score in (Maximum(), Reweighted(neighbours=5)):
        assert torch.allclose(
            score(GRID, others(GRID), others), score(GRID, remaining(GRID), remaining)
        )


def test_maximum() -> None:
    bank = Bank(VECTORS, IMAGES)
    exact = (
        cdist(GRID.reshape(-1, 6).double(), VECTORS.double()).min(axis=1).reshape(3, 20).max(axis=1)
    )
    assert np.allclose(Maximum()(GRID, bank(GRID), bank), exact, rtol=1e-6)


@pytest.mark.parametrize(("fraction", "count"), [(0.01, 1), (0.05, 1), (0.13, 3), (1.0, 20)])
def test_the_top_share_is_the_mean_of_the_largest(fraction: float, count: int) -> None:
    bank = Bank(VECTORS, IMAGES)
    nearest = cdist(GRID.reshape(-1, 6).double(), VECTORS.double()).min(axis=1).reshape(3, 20)
    expected = np.sort(nearest, axis=1)[:, -count:].mean(axis=1)
    scores = TopShare(fraction)(GRID, bank(GRID), bank)
    assert np.allclose(scores, expected, rtol=1e-6)
    if count == 1:
        assert torch.equal(scores, Maximum()(GRID, bank(GRID), bank))


@pytest.mark.parametrize("fraction", [0.001, 0.1, 0.5, 1.0])
def test_a_top_share_is_that_of_the_patches_that_count(fraction: float) -> None:
    """As without the others, which are at no distance, in each image of a batch."""
    bank = Bank(VECTORS, IMAGES)
    inside = torch.ones(3, 20)
    inside[1, 7:] = 0
    inside[2, 1:] = 0
    found = bank(GRID)
    distances = found.distances * inside.reshape(found.distances.shape)
    scores = TopShare(fraction)(GRID, Nearest(distances, found.rows, inside), bank)
    for image, counts in enumerate(inside > 0):
        alone = found.distances[image].flatten()[counts].reshape(1, 1, -1)
        expected = TopShare(fraction)(GRID[:1], Nearest(alone, found.rows[:1]), bank)
        assert torch.allclose(scores[image], expected[0])


@pytest.mark.parametrize("fraction", [0, -0.1, 1.01, float("nan")])
def test_a_top_share_that_is_no_fraction(fraction: float) -> None:
    with pytest.raises(OptionError, match="is no fraction"):
        TopShare(fraction)


def test_reweighting_takes_the_neighbours_of_the_nearest_vector() -> None:
    bank = Bank(VECTORS, IMAGES)
    scores = Reweighted(neighbours=5)(GRID, bank(GRID), bank)
    memory = VECTORS.double().numpy()
    for image, score in zip(GRID.reshape(3, 20, 6).double().numpy(), scores, strict=True):
        distances = cdist(image, memory)
        most_anomalous = distances.min(axis=1).argmax()
        closest = distances[most_anomalous].argmin()
        around = np.argsort(cdist(memory[closest : closest + 1], memory)[0])[:5]
        exponentials = np.exp(distances[most_anomalous, around])
        weight = 1 - np.exp(distances[most_anomalous, closest]) / exponentials.sum()
        assert np.isclose(score, weight * distances[most_anomalous, closest], rtol=1e-5)


def test_reweighting_among_fewer_vectors_than_asked_for() -> None:
    bank = Bank(VECTORS[:3], IMAGES[:3])
    assert torch.isfinite(Reweighted(neighbours=9)(GRID, bank(GRID), bank)).all()
