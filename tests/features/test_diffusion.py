from __future__ import annotations

import pytest
import torch

from flawmap.features.diffusion import NUM_STEPS, NUM_TIMESTEPS, add_noise, alpha_bar, reconstruct


def images(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(2, 3, 4, 5, generator=generator) - 1, torch.randn(
        NUM_STEPS + 1, 3, 4, 5, generator=generator
    )


class Oracle:
    """Knows the clean image, so it knows the noise."""

    def __init__(self, clean: torch.Tensor) -> None:
        self.clean = clean
        self.levels: list[int] = []

    def __call__(self, noisy: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        self.levels.append(int(levels[0]))
        fraction = alpha_bar(levels)
        return (noisy - fraction.sqrt() * self.clean) / (1 - fraction).sqrt()


def test_how_much_of_the_image_is_left() -> None:
    # Golden numbers of methods.md, appendix A.
    wanted = [0.9999, 0.990965, 0.588678, 0.521423, 4.0358e-5]
    timesteps = torch.tensor([0, 25, 225, 250, NUM_TIMESTEPS - 1])
    assert alpha_bar(timesteps).flatten().tolist() == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("weight", [0.0, 3.0])
def test_with_a_perfect_oracle_an_image_returns(weight: float) -> None:
    clean, noises = images()
    oracle = Oracle(clean)
    # Steered towards itself there is nothing to steer; to another target there would be.
    returned = reconstruct(oracle, clean, clean, noises[:, None], weight)
    assert torch.allclose(returned, clean, atol=1e-4)
    assert oracle.levels == list(range(225, -1, -25))


def test_steering_leads_to_the_target() -> None:
    clean, noises = images()
    target = clean.flip(0)
    differences = [
        (reconstruct(Oracle(clean), clean, target, noises[:, None], weight) - target)
        .abs()
        .mean()
        .item()
        for weight in (0.0, 0.5, 1.0)
    ]
    assert differences[0] > differences[1] > differences[2]


def test_each_image_gets_the_noise_of_its_own_timestep() -> None:
    clean, noises = images()
    mixed = add_noise(clean, noises[:2], torch.tensor([1.0, 0.0]).reshape(2, 1, 1, 1))
    assert torch.equal(mixed[0], clean[0])
    assert torch.equal(mixed[1], noises[1])
