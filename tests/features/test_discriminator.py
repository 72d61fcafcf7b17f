from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from flawmap.features.discriminator import Adaptor, Discriminator, focal_loss


def test_the_adaptor_scales_and_is_affine() -> None:
    adaptor = Adaptor(4, 2.5)
    vectors = torch.randn(3, 2, 4)
    linear = functional.linear(2.5 * vectors, adaptor.linear.weight, adaptor.linear.bias)
    assert torch.allclose(adaptor(vectors), linear, atol=1e-6)
    mean = adaptor(vectors.flatten(0, 1).mean(dim=0))
    assert torch.allclose(adaptor(vectors).flatten(0, 1).mean(dim=0), mean, atol=1e-5)


def test_in_evaluation_a_logit_depends_on_its_vector_alone() -> None:
    discriminator = Discriminator(5, 3).eval()
    vectors = torch.randn(6, 5)
    together = discriminator(vectors)
    assert torch.allclose(together[2:3], discriminator(vectors[2:3]), atol=1e-6)


def test_the_focal_loss_is_that_of_the_half_most_wrong() -> None:
    anomaly = torch.tensor([0.1, 0.2, 0.6, 0.9])
    marked = torch.tensor([0.0, 0.0, 0.0, 1.0])
    # Wrong by 0.1, 0.2, 0.6, 0.1; the median of their squares is 0.025, so two remain.
    expected = np.mean([-((1 - p) ** 2) * np.log(p) for p in (0.8, 0.4)])
    assert focal_loss(torch.logit(anomaly), marked).item() == pytest.approx(expected, rel=1e-3)


def test_the_focal_loss_ends_where_the_discriminator_is_sure_and_wrong() -> None:
    assert focal_loss(torch.tensor([200.0, 200.0]), torch.zeros(2)).item() == pytest.approx(
        -np.log(1e-5), rel=1e-3
    )
