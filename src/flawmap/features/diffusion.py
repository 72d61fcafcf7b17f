"""Diffusion: how noise is added to an image, and how a model takes it away again.

The linear schedule of Ho et al. 2020, the steps of Song et al. 2021 (DDIM), and the guidance
towards a target image of DDAD (Mousakhan et al. 2024). Written from the formulas.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from flawmap.features.tensor_shapes import Timesteps
from flawmap.support.tensors import Images

_PerImageScalars = Float[Tensor, "_batch 1 1 1"]
"""One number per image, to multiply images with."""

_Noises = Float[Tensor, "_step ... 3 height width"]
"""The noise of each step of a reconstruction."""

_Noise = Float[Tensor, "... 3 height width"]
"""Gaussian noise for images; without the first axis, the same for all of them."""

NUM_TIMESTEPS = 1000
"""Time steps of the schedule; an image of the last one is nothing but noise."""

START_TIMESTEP = 250
"""How much noise an image gets before it is taken away."""

_TIMESTEP_STRIDE = 25
"""How many time steps one step of the reconstruction goes back."""

NUM_STEPS = START_TIMESTEP // _TIMESTEP_STRIDE
"""Steps of a reconstruction."""

_ALPHA_BARS: list[float] = np.cumprod(1 - np.linspace(1e-4, 0.02, NUM_TIMESTEPS)).tolist()
"""ᾱ of each time step: the fraction of the image's variance that is left, β from 1e-4 to 0.02.

Numbers and no tensor, so that all weights of the steps are constants of the graph that is made of
them.
"""

_NoisePredictor = Callable[[Tensor, Tensor], Tensor]
"""Noisy images and the time step of each to the noise in them."""


def alpha_bar(timesteps: Timesteps) -> _PerImageScalars:
    """ᾱ of each image's time step, (batch, 1, 1, 1).

    Args:
        timesteps: (batch,), from 0 to `NUM_TIMESTEPS` − 1.

    >>> alpha_bar(torch.tensor([0, 999])).flatten()
    tensor([9.9990e-01, 4.0358e-05])
    """
    return torch.tensor(_ALPHA_BARS, device=timesteps.device)[timesteps].reshape(-1, 1, 1, 1)


def add_noise(images: Images, noise: _Noise, fraction: _PerImageScalars | float) -> Images:
    """Noisy images, √ᾱ x + √(1 − ᾱ) ε.

    Args:
        images: x, (batch, 3, height, width), −1…1.
        noise: ε, standard normal; (3, height, width) for the same on all images.
        fraction: ᾱ, 0…1, for all images or (batch, 1, 1, 1).
    """
    return fraction**0.5 * images + (1 - fraction) ** 0.5 * noise


class _StepWeights(NamedTuple):
    """Weights of the noise in a step of DDIM.

    Args:
        fresh: c₁, of new noise.
        predicted: c₂, of the predicted noise.
    """

    fresh: float
    predicted: float


def _ddim_weights(now: float, then: float) -> _StepWeights:
    """Weights of the noise in a step with η = 1.

    c₁ = √((1 − ᾱ_t / ᾱ_s)(1 − ᾱ_s) / (1 − ᾱ_t)), c₂ = √(1 − ᾱ_s − c₁²).

    Args:
        now: ᾱ_t, before the step, 0…1.
        then: ᾱ_s, after the step, larger.

    >>> _ddim_weights(0.5, 1.0)
    _StepWeights(fresh=0.0, predicted=0.0)
    """
    variance = (1 - now / then) * (1 - then) / (1 - now)
    return _StepWeights(variance**0.5, max(0.0, 1 - then - variance) ** 0.5)


def reconstruct(
    predict: _NoisePredictor, images: Images, targets: Images, noises: _Noises, guidance: float
) -> Images:
    """Images that were made noisy and clean again, guided towards targets.

    At each time step t = 225, 200, …, 0, with ε̂ the predicted noise:

        y_t = √ᾱ_t y + √(1 − ᾱ_t) ε̂
        ε̃ = ε̂ − w √(1 − ᾱ_t) (y_t − x_t)
        x̂₀ = (x_t − √(1 − ᾱ_t) ε̃) / √ᾱ_t
        x_s = √ᾱ_s x̂₀ + c₁ n + c₂ ε̃

    Here ᾱ_s is that of the next time step, and 1 at the end. The noise that images get is
    that of time step 250, as published, though the first step takes them for those of 225.

    Args:
        predict: noisy images and time steps to the noise in them.
        images: to begin with, (batch, 3, height, width), −1…1.
        targets: y, what to guide towards, of the same shape.
        noises: (step, 3, height, width) or (step, batch, 3, height, width), one more than
            `NUM_STEPS`.
        guidance: w, how strongly; 0 for not at all.
    """
    noisy = add_noise(images, noises[0], _ALPHA_BARS[START_TIMESTEP])
    timesteps = range(START_TIMESTEP - _TIMESTEP_STRIDE, -1, -_TIMESTEP_STRIDE)
    for step, timestep in enumerate(timesteps, start=1):
        now = _ALPHA_BARS[timestep]
        then = _ALPHA_BARS[timestep - _TIMESTEP_STRIDE] if timestep else 1.0
        batch_timesteps = torch.full((noisy.shape[0],), timestep, device=noisy.device)
        predicted = predict(noisy, batch_timesteps)
        away_from_target = add_noise(targets, predicted, now) - noisy
        guided = predicted - guidance * (1 - now) ** 0.5 * away_from_target
        clean = (noisy - (1 - now) ** 0.5 * guided) / now**0.5
        weights = _ddim_weights(now, then)
        noisy = then**0.5 * clean + weights.fresh * noises[step] + weights.predicted * guided
    return noisy
