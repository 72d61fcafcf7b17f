"""Diffusion: how noise is added to an image, and how a model takes it away again.

The linear schedule of Ho et al. 2020, the steps of Song et al. 2021 (DDIM), and the steering
towards a target image of DDAD (Mousakhan et al. 2024). Written from the formulas.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

NUM_TIMESTEPS = 1000
"""Levels of noise; the last one is nothing else."""

START, STRIDE = 250, 25
"""How much noise an image gets before it is taken back, and how many levels a step goes."""

NUM_STEPS = START // STRIDE

ALPHA_BARS: list[float] = np.cumprod(1 - np.linspace(1e-4, 0.02, NUM_TIMESTEPS)).tolist()
"""ᾱ of each level: the share of the image's variance that is left, β from 1e-4 to 0.02.

Numbers and no tensor, so that all weights of the steps are constants of the graph that is made of
them. """

NoisePredictor = Callable[[Tensor, Tensor], Tensor]
"""Says what noise is in noisy images, given the level of each."""


def alpha_bar(levels: Tensor) -> Tensor:
    """Give ᾱ of each of these levels, (image, 1, 1, 1)."""
    return torch.tensor(ALPHA_BARS, device=levels.device)[levels].reshape(-1, 1, 1, 1)


def add_noise(images: Tensor, noise: Tensor, share: Tensor | float) -> Tensor:
    """Give √ᾱ x + √(1 − ᾱ) ε; `share` is ᾱ."""
    return share**0.5 * images + (1 - share) ** 0.5 * noise


class StepWeights(NamedTuple):
    """The weights of new noise and of predicted noise in a step."""

    fresh: float
    predicted: float


def ddim_weights(now: float, then: float) -> StepWeights:
    """Weigh the noise of a step from a share `now` to a share `then` of clean image, η = 1.

    c₁ = √((1 − ᾱ_t / ᾱ_s)(1 − ᾱ_s) / (1 − ᾱ_t)), c₂ = √(1 − ᾱ_s − c₁²).
    """
    variance = (1 - now / then) * (1 - then) / (1 - now)
    return StepWeights(variance**0.5, max(0.0, 1 - then - variance) ** 0.5)


def reconstruct(
    predict: NoisePredictor, images: Tensor, targets: Tensor, noises: Tensor, weight: float
) -> Tensor:
    """Take images that were made noisy back to clean ones, steered towards targets.

    At each level t = 225, 200, …, 0 with ε̂ the predicted noise and y_t = √ᾱ_t y + √(1 − ᾱ_t) ε̂:
    ε̃ = ε̂ − w √(1 − ᾱ_t) (y_t − x_t), x̂₀ = (x_t − √(1 − ᾱ_t) ε̃) / √ᾱ_t, x_s = √ᾱ_s x̂₀ + c₁ n +
    c₂ ε̃, where ᾱ_s is that of the next level, and 1 at the end. The noise that images get is that
    of level 250, as published, though the first step takes them for those of level 225.

    Args:
        predict: the noise.
        images: to begin with, (batch, 3, row, column), −1…1.
        targets: what to steer towards, y.
        noises: (step, 3, row, column) or (step, batch, 3, row, column), one more than there are
            steps.
        weight: of the steering, w; 0 for none.
    """
    noisy = add_noise(images, noises[0], ALPHA_BARS[START])
    for place, level in enumerate(range(START - STRIDE, -1, -STRIDE), start=1):
        now, then = ALPHA_BARS[level], ALPHA_BARS[level - STRIDE] if level else 1.0
        predicted = predict(noisy, torch.full((noisy.shape[0],), level, device=noisy.device))
        steered = predicted - weight * (1 - now) ** 0.5 * (
            add_noise(targets, predicted, now) - noisy
        )
        clean = (noisy - (1 - now) ** 0.5 * steered) / now**0.5
        weights = ddim_weights(now, then)
        noisy = then**0.5 * clean + weights.fresh * noises[place] + weights.predicted * steered
    return noisy
