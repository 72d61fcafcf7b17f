from __future__ import annotations

import math

import pytest
import torch

from flawmap.features.codebook import Codebook, sinusoidal_position_encoding


def clusters(seed: int, count: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    centres = 10 * torch.eye(4, 6)
    belongs = torch.randint(4, (count,), generator=generator)
    return centres[belongs] + 0.1 * torch.randn(count, 6, generator=generator), centres


def test_it_recovers_centres_that_lie_apart() -> None:
    torch.manual_seed(0)
    book = Codebook(8, 6).train()
    for seed in range(1500):
        book(clusters(seed)[0])
    vectors, centres = clusters(1000)
    assert torch.cdist(centres, book.codes).amin(dim=1).max() < 0.15  # codes may share a cluster
    assert book.eval()(vectors).commitment < 0.02


def test_codes_are_running_means_by_the_formula() -> None:
    torch.manual_seed(0)
    book = Codebook(3, 2).train()
    codes, vectors = book.codes.clone(), torch.randn(50, 2)
    nearest = torch.cdist(vectors, codes).argmin(dim=1)
    book(vectors)
    sizes = torch.stack([0.99 + 0.01 * (nearest == code).sum() for code in range(3)])
    sums = torch.stack(
        [0.99 * codes[code] + 0.01 * vectors[nearest == code].sum(dim=0) for code in range(3)]
    )
    smoothed = (sizes + 1e-5) / (sizes.sum() + 3 * 1e-5) * sizes.sum()
    assert torch.allclose(book.codes, sums / smoothed[:, None], atol=1e-6)


def test_vectors_become_the_nearest_codes_and_gradients_go_straight_through() -> None:
    torch.manual_seed(0)
    book, vectors = Codebook(5, 3).eval(), torch.randn(7, 3, requires_grad=True)
    quantised = book(vectors)
    nearest = book.codes[torch.cdist(vectors, book.codes).argmin(dim=1)]
    assert torch.allclose(quantised.vectors, nearest, atol=1e-6)
    (quantised.vectors * torch.arange(3.0)).sum().backward()
    assert vectors.grad is not None
    assert torch.equal(vectors.grad, torch.arange(3.0).expand(7, 3))
    assert quantised.commitment.item() == pytest.approx(
        (vectors - nearest).square().mean().item(), rel=1e-5
    )


def test_codes_that_nothing_is_near_to_are_put_where_something_is() -> None:
    torch.manual_seed(0)
    book = Codebook(2, 2).train()
    book.codes[1] = 1000.0
    vectors = torch.randn(20, 2)
    for _ in range(300):
        book(vectors)
    assert book.codes.abs().max() < 10


def test_nothing_is_trained_in_evaluation_mode() -> None:
    book = Codebook(4, 6).eval()
    before = book.codes.clone()
    book(clusters(0)[0])
    assert torch.equal(book.codes, before)


def test_a_position_code_is_sines_of_column_and_row() -> None:
    code = sinusoidal_position_encoding(4, 5, 3)
    assert code.shape == (4, 5, 3)
    # Golden numbers of methods.md, appendix A.
    assert code[:2, 4, 2].tolist() == pytest.approx([0.909297, -0.416147], abs=1e-5)
    assert code[2:, 4, 2].tolist() == pytest.approx([math.sin(4), math.cos(4)], abs=1e-5)
    longer = sinusoidal_position_encoding(16, 2, 8)
    assert longer[2:4, 0, 7].tolist() == pytest.approx(
        [math.sin(7 / 10), math.cos(7 / 10)], abs=1e-5
    )
