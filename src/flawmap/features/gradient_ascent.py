"""Anomalies made of normal feature vectors.

Pushed up the gradient of a discriminator, kept at a distance from normal.

GLASS (Chen et al. 2024), global anomaly synthesis: gradient ascent with truncated projection.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from flawmap.support.tensors import Patches

PROJECT_EVERY = 5
"""Steps between projections, as published; there is one after the last in any case."""


def truncated_projection(vectors: Patches, about: Patches, near: Tensor, far: Tensor) -> Patches:
    """Truncated projection: each vector moved to between `near` and `far` from its centre.

    Its direction from the centre stays.

    With h = x − c: c + h/‖h‖ · min(max(‖h‖, near), far).
    """
    away = vectors - about
    radius = away.norm(dim=1, keepdim=True).clamp_min(torch.finfo(away.dtype).tiny)
    shell: Patches = about + away * (radius.clamp(near, far) / radius)
    return shell


def gradient_ascent(
    logits: Callable[[Tensor], Tensor],
    vectors: Patches,
    project: Callable[[Tensor], Tensor],
    steps: int,
    rate: float,
) -> Patches:
    """Make anomalous vectors harder to tell.

    Up the gradient of the loss of calling them anomalous, with projections.

    Each step goes `rate` along ∇L/‖∇L‖, L = −log D(x), D = σ(logit). As ∇L = −(1 − D) ∇logit, that
    is down the logit's own gradient, which does not vanish where D is sure.

    Args:
        logits: of being anomalous, one for each vector, each depending on that vector alone.
        vectors: to begin with.
        project: keeps vectors away from normal ones.
        steps: in all.
        rate: length of a step.

    Returns:
        Vectors without a history: nothing is learned of the way to them.
    """
    risen = vectors.detach()
    for step in range(1, steps + 1):
        with torch.enable_grad():
            risen.requires_grad_()
            (slope,) = torch.autograd.grad(logits(risen).sum(), risen)
        risen = risen.detach() - rate * functional.normalize(slope, dim=1)
        if step % PROJECT_EVERY == 0 or step == steps:
            risen = project(risen)
    return risen
