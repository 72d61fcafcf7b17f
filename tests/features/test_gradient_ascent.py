from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.nn import functional

from flawmap.features.gradient_ascent import gradient_ascent, truncated_projection

NEAR, FAR = torch.tensor(0.5), torch.tensor(1.0)


def test_a_projection_keeps_radii_within_the_shell_and_directions_as_they_are() -> None:
    vectors, about = torch.randn(200, 12, generator=torch.Generator().manual_seed(0)).split(100)
    lengths = torch.linspace(0.01, 3, 100)[:, None]
    vectors = about + lengths * functional.normalize(vectors - about, dim=1)
    projected = truncated_projection(vectors, about, NEAR, FAR)
    radii = (projected - about).norm(dim=1)
    assert torch.allclose(radii, lengths[:, 0].clamp(0.5, 1), atol=1e-5)
    assert torch.allclose(
        functional.cosine_similarity(projected - about, vectors - about), torch.ones(100), atol=1e-4
    )


def test_what_is_on_the_shell_already_stays() -> None:
    about = torch.zeros(3, 4)
    vectors = torch.eye(4)[:3] * 0.7
    assert torch.allclose(truncated_projection(vectors, about, NEAR, FAR), vectors)


def test_a_vector_on_its_centre_gives_no_infinite_number() -> None:
    assert torch.isfinite(truncated_projection(torch.ones(1, 4), torch.ones(1, 4), NEAR, FAR)).all()


@pytest.mark.parametrize("steps", [1, 3, 7, 10])
def test_the_ascent_ends_on_the_shell_whatever_its_length(steps: int) -> None:
    about = torch.zeros(50, 6)
    start = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    project = partial(truncated_projection, centres=about, near=NEAR, far=FAR)
    radii = gradient_ascent(lambda vectors: vectors.sum(dim=1), start, project, steps, 0.3).norm(
        dim=1
    )
    assert (radii >= 0.5 - 1e-5).all()
    assert (radii <= 1 + 1e-5).all()


def test_the_ascent_makes_the_loss_of_every_vector_larger() -> None:
    torch.manual_seed(0)
    discriminator = torch.nn.Sequential(
        torch.nn.Linear(6, 16), torch.nn.LeakyReLU(0.2), torch.nn.Linear(16, 1)
    )

    def logits(vectors: torch.Tensor) -> torch.Tensor:
        return torch.mul(discriminator(vectors)[:, 0], 100)

    def loss(vectors: torch.Tensor) -> torch.Tensor:
        return functional.softplus(-logits(vectors))

    start = 3 * torch.randn(64, 6)
    risen = gradient_ascent(logits, start, lambda vectors: vectors, 4, 0.01)
    # Even where D is so sure that its own gradient is 0 in float32.
    assert (logits(start).abs() > 20).any()
    assert (logits(risen) < logits(start)).all()
    assert (loss(risen) >= loss(start)).all()
    assert torch.allclose((risen - start).norm(dim=1), torch.full((64,), 0.04), rtol=0.3)
    assert not risen.requires_grad
