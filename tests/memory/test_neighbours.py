from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from flawmap.memory import neighbours
from flawmap.memory.neighbours import nearest

RNG = torch.Generator().manual_seed(0)
VECTORS = torch.rand(300, 64, generator=RNG) * 10
QUERIES = torch.rand(500, 64, generator=RNG) * 10


@pytest.mark.parametrize("block", [1, 1000, 2**23])
def test_agrees_with_float64(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "BLOCK", block)
    exact = cdist(QUERIES.double().numpy(), VECTORS.double().numpy())
    found = nearest(QUERIES, VECTORS)
    assert np.allclose(found.distances, exact.min(axis=1), rtol=1e-6)
    assert np.array_equal(found.rows, exact.argmin(axis=1))


def test_a_vector_is_at_no_distance_from_itself() -> None:
    found = nearest(VECTORS, VECTORS)
    assert torch.equal(found.distances, torch.zeros(300))
    assert torch.equal(found.rows, torch.arange(300))


def test_small_distances_between_large_vectors_are_not_lost() -> None:
    vectors = torch.tensor([[1e4, 0.0], [0.0, 1e4]])
    queries = vectors + torch.tensor([0.0, 0.25])
    assert torch.allclose(nearest(queries, vectors).distances, torch.tensor(0.25))
