from __future__ import annotations

import pytest
import torch

from flawmap.memory import matmul as module
from flawmap.memory.matmul import squared_distance_terms


@pytest.mark.parametrize("linear", [module._LINEAR, None])
@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 5, 3), (300, 152, 200)])
def test_it_is_what_float64_says(
    linear: object, shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LINEAR", linear)
    rows, channels, count = shape
    generator = torch.Generator().manual_seed(0)
    queries, vectors = (torch.randn(size, channels, generator=generator) for size in (rows, count))
    squares = vectors.square().sum(dim=1)
    exact = squares.double() - 2 * queries.double() @ vectors.double().T
    assert torch.allclose(
        squared_distance_terms(queries, vectors, squares).double(), exact, rtol=1e-5, atol=1e-4
    )


def test_what_is_passed_over_stays_infinite() -> None:
    terms = squared_distance_terms(
        torch.ones(2, 3), torch.ones(4, 3), torch.tensor([3.0, torch.inf, 3.0, 3.0])
    )
    assert torch.equal(terms.isinf(), torch.tensor([[False, True, False, False]] * 2))
