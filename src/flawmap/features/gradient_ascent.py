"""Anomalies synthesised from normal feature vectors, by gradient ascent with truncated projection.

The global anomaly synthesis of GLASS (Chen et al. 2024): vectors are pushed to where a
discriminator takes them for normal, and kept at a distance from what is normal.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from flawmap.features.tensor_shapes import Scalar
from flawmap.support.tensors import Patches

_PROJECT_EVERY = 5
"""Steps between projections, as published; there is one after the last in any case."""


def truncated_projection(vectors: Patches, centres: Patches, near: Scalar, far: Scalar) -> Patches:
    """Vectors moved to between two distances from their centres, in the direction that they had.

    With h = x − c: c + h/‖h‖ · min(max(‖h‖, near), far).

    Args:
        vectors: x, (vector, channel).
        centres: c, one for each vector.
        near: smallest distance, > 0.
        far: largest distance.

    >>> near, far = torch.tensor(1.0), torch.tensor(2.0)
    >>> vectors = torch.tensor([[0.5, 0.0], [0.0, 3.0]])
    >>> truncated_projection(vectors, torch.zeros(2, 2), near, far)
    tensor([[1., 0.],
            [0., 2.]])
    """
    offset = vectors - centres
    radius = offset.norm(dim=1, keepdim=True).clamp_min(torch.finfo(offset.dtype).tiny)
    projected: Patches = centres + offset * (radius.clamp(near, far) / radius)
    return projected


def gradient_ascent(
    logits: Callable[[Tensor], Tensor],
    vectors: Patches,
    project: Callable[[Tensor], Tensor],
    steps: int,
    step_size: float,
) -> Patches:
    """Anomalous vectors that are harder to tell from normal ones than those given.

    They climb the gradient of the loss of calling them anomalous, with projections. Each step goes
    `step_size` along ∇L/‖∇L‖, L = −log D(x), D = σ(logit). As ∇L = −(1 − D) ∇logit, that is down
    the logit's own gradient, which does not vanish where D is sure.

    Args:
        logits: of being anomalous, one for each vector, each depending on that vector alone.
        vectors: to begin with, (vector, channel).
        project: keeps vectors away from normal ones.
        steps: number of steps.
        step_size: length of a step.

    Returns:
        Vectors without gradient history.
    """
    climbed = vectors.detach()
    for step in range(1, steps + 1):
        with torch.enable_grad():
            climbed.requires_grad_()
            (gradient,) = torch.autograd.grad(logits(climbed).sum(), climbed)
        climbed = climbed.detach() - step_size * functional.normalize(gradient, dim=1)
        if step % _PROJECT_EVERY == 0 or step == steps:
            climbed = project(climbed)
    return climbed
