from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from flawmap.memory.neighbours import distance_to_nearest, nearest

RNG = torch.Generator().manual_seed(0)
VECTORS = torch.rand(300, 64, generator=RNG) * 10
QUERIES = torch.rand(500, 64, generator=RNG) * 10


@pytest.mark.parametrize("block", [1, 1000, 2**23])
def test_agrees_with_float64(block: int) -> None:
    exact = cdist(QUERIES.double().numpy(), VECTORS.double().numpy())
    neighbours = nearest(QUERIES, VECTORS, elements_per_block=block)
    assert np.allclose(neighbours.distances, exact.min(axis=1), rtol=1e-6)
    assert np.array_equal(neighbours.rows, exact.argmin(axis=1))


@pytest.mark.parametrize("block", [1, 1000, 2**23])
@pytest.mark.parametrize("parts", [[300], [1, 99, 200]])
def test_sets_are_searched_as_if_they_were_one(block: int, parts: list[int]) -> None:
    exact = cdist(QUERIES.double().numpy(), VECTORS.double().numpy())
    sets = VECTORS.split(parts)
    distances = distance_to_nearest(QUERIES, sets, elements_per_block=block)
    assert np.allclose(distances, exact.min(axis=1), rtol=1e-6)
    distances = distance_to_nearest(VECTORS, sets, elements_per_block=block)
    assert torch.equal(distances, torch.zeros(300))


def test_a_vector_is_at_no_distance_from_itself() -> None:
    neighbours = nearest(VECTORS, VECTORS)
    assert torch.equal(neighbours.distances, torch.zeros(300))
    assert torch.equal(neighbours.rows, torch.arange(300))


def test_small_distances_between_large_vectors_are_not_lost() -> None:
    vectors = torch.tensor([[1e4, 0.0], [0.0, 1e4]])
    queries = vectors + torch.tensor([0.0, 0.25])
    assert torch.allclose(nearest(queries, vectors).distances, torch.tensor(0.25))


class _Search(torch.nn.Module):
    def __init__(self, vectors: torch.Tensor) -> None:
        super().__init__()
        self.vectors: torch.Tensor
        self.register_buffer("vectors", vectors)

    def forward(self, queries: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        neighbours = nearest(queries, self.vectors)
        return neighbours.distances, neighbours.rows


@pytest.mark.parametrize("count", [1, 2, 3, 7, 16, 97])
def test_a_graph_finds_the_same(count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    vectors, queries = (
        torch.randn(count, 5, generator=generator),
        torch.randn(40, 5, generator=generator),
    )
    distances, rows = torch.export.export(_Search(vectors), (queries,)).module()(queries)
    neighbours = nearest(queries, vectors)
    assert torch.equal(rows, neighbours.rows)
    assert torch.equal(distances, neighbours.distances)


def test_a_graph_finds_copies_at_no_distance() -> None:
    vectors = torch.randn(6, 5, generator=torch.Generator().manual_seed(0)).repeat(5, 1)
    distances, rows = torch.export.export(_Search(vectors), (vectors[:6],)).module()(vectors[:6])
    assert torch.equal(distances, torch.zeros(6))
    assert torch.equal(rows % 6, torch.arange(6))
