"""Noise and back: what a diffusion model learns from, and how it takes a noisy picture back to a clean one.

The linear schedule of Ho et al. 2020, the steps of Song et al. 2021 (DDIM), and the steering towards a target picture
of DDAD (Mousakhan et al. 2024). Written from the formulas.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

LEVELS = 1000
"""Levels of noise; the last one is nothing else."""

START, STRIDE = 250, 25
"""How much noise a picture gets before it is taken back, and how many levels a step goes."""

STEPS = START // STRIDE

Predictor = Callable[[Tensor, Tensor], Tensor]
"""Says what noise is in noisy pictures, given the level of each."""


def clean_shares() -> Tensor:
    """Give ᾱ of each level: the share of the picture's variance that is left, β from 1e-4 to 0.02."""
    return torch.cumprod(1 - torch.linspace(1e-4, 0.02, LEVELS, dtype=torch.float64), dim=0).float()


def mix(pictures: Tensor, noise: Tensor, share: Tensor) -> Tensor:
    """Give √ᾱ x + √(1 − ᾱ) ε; `share` is ᾱ, a number or one for each picture."""
    share = share.reshape(-1, 1, 1, 1)
    return share.sqrt() * pictures + (1 - share).sqrt() * noise


class Step(NamedTuple):
    """The weights of new noise and of predicted noise in a step."""

    fresh: Tensor
    predicted: Tensor


def step_weights(now: Tensor, then: Tensor) -> Step:
    """Weigh the noise of a step from a share `now` to a share `then` of clean picture, η = 1.

    c₁ = √((1 − ᾱ_t / ᾱ_s)(1 − ᾱ_s) / (1 − ᾱ_t)), c₂ = √(1 − ᾱ_s − c₁²).
    """
    fresh = ((1 - now / then) * (1 - then) / (1 - now)).sqrt()
    return Step(fresh, (1 - then - fresh.square()).clamp_min(0).sqrt())


def reconstruct(predict: Predictor, pictures: Tensor, targets: Tensor, noises: Tensor, weight: float) -> Tensor:
    """Take pictures that were made noisy back to clean ones, steered towards targets.

    At each level t = 225, 200, …, 0 with ε̂ the predicted noise and y_t = √ᾱ_t y + √(1 − ᾱ_t) ε̂:
    ε̃ = ε̂ − w √(1 − ᾱ_t) (y_t − x_t), x̂₀ = (x_t − √(1 − ᾱ_t) ε̃) / √ᾱ_t, x_s = √ᾱ_s x̂₀ + c₁ n + c₂ ε̃.

    Args:
        predict: the noise.
        pictures: to begin with, (batch, 3, row, column), −1…1.
        targets: what to steer towards.
        noises: (step, 3, row, column) or (step, batch, 3, row, column), one more than there are steps.
        weight: of the steering, w; 0 for none.
    """
    shares = clean_shares().to(pictures.device)
    noisy = mix(pictures, noises[0], shares[START])
    for place, level in enumerate(range(START - STRIDE, -1, -STRIDE), start=1):
        now = shares[level]
        then = shares[level - STRIDE] if level else torch.ones_like(now)
        levels = torch.full((len(noisy),), level, device=pictures.device)
        predicted = predict(noisy, levels)
        steered = predicted - weight * (1 - now).sqrt() * (mix(targets, predicted, now) - noisy)
        clean = (noisy - (1 - now).sqrt() * steered) / now.sqrt()
        weights = step_weights(now, then)
        noisy = then.sqrt() * clean + weights.fresh * noises[place] + weights.predicted * steered
    return noisy
