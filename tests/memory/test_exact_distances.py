"""Bounds are never below the distances, and candidates never lack the nearest centre."""

from __future__ import annotations

import pytest
import torch

from flawmap.memory.exact_distances import (
    exact_distances,
    nearest_candidates,
    product_type,
    rough_argmin,
    upper_bounds,
)


def gaussian(rows: int, channels: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, channels, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("scale", [1e-44, 1e-38, 1e-22, 1e-19, 1.0, 1e19, 1e30])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_bound_in_float32_is_never_below_the_distance(scale: float, dtype: torch.dtype) -> None:
    vectors = (scale * gaussian(2000, 65, seed=0)).to(dtype)
    others = (scale * gaussian(2000, 65, seed=1)).to(dtype)
    finite = (vectors.isfinite() & others.isfinite()).all(1)
    vectors, others = vectors[finite], others[finite]
    assert (upper_bounds(vectors, others) >= exact_distances(vectors, others)).all()
    near = torch.nextafter(vectors, others)
    assert (upper_bounds(vectors, near) >= exact_distances(vectors, near)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("spread", [1.0, 1e-3, 1e-6, 1e-22])
def test_the_nearest_is_among_the_rivals(dtype: torch.dtype, spread: float) -> None:
    """Also where it is nearer by less than a product can tell."""
    vectors, centres = ((1 + spread * gaussian(rows, 24, rows).double()) / 5 for rows in (200, 300))
    pairs = nearest_candidates(
        vectors.to(dtype), centres.to(dtype), centres.to(dtype).square().sum(1)
    )
    nearest = torch.cdist(vectors, centres, compute_mode="donot_use_mm_for_euclid_dist").argmin(1)
    actual = set(map(tuple, pairs.tolist()))
    assert actual.issuperset(enumerate(nearest.tolist()))


def test_rivals_are_few_where_distances_differ() -> None:
    vectors, centres = gaussian(200, 24), gaussian(300, 24, 1)
    assert len(nearest_candidates(vectors, centres, centres.square().sum(1))) < 210


@pytest.mark.parametrize("width", [1, 2, 3, 17, 512])
def test_least(width: int) -> None:
    values = gaussian(100, width)
    assert rough_argmin(values.clone()).tolist() == values.argmin(1).tolist()
    columns = rough_argmin(torch.full((3, width), torch.nan))
    assert ((columns >= 0) & (columns < width)).all()


@pytest.mark.parametrize(
    ("precision", "dtype"), [("highest", torch.float32), ("medium", torch.float64)]
)
def test_products_are_float64_where_torch_may_round_float32(
    precision: str, dtype: torch.dtype
) -> None:
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(precision)
        assert product_type() == dtype
    finally:
        torch.set_float32_matmul_precision(before)


def test_products_are_float64_where_torch_cannot_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    def mixed() -> str:
        raise RuntimeError("mix of the legacy and new APIs")

    monkeypatch.setattr(torch, "get_float32_matmul_precision", mixed)
    assert product_type() == torch.float64
