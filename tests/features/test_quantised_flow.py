from __future__ import annotations

from typing import Any

import pytest
import torch

from flawmap.features.quantised_flow import VQFlowNetwork


def network(channels: list[int], log_sigma: bool = True) -> VQFlowNetwork:
    return VQFlowNetwork(
        channels,
        prototypes=4,
        patterns=8,
        prototype_dim=16,
        position_dim=4,
        flow_steps=(1, 1, 1),
        log_sigma=log_sigma,
    ).eval()


def test_the_loss_is_a_density(monkeypatch: pytest.MonkeyPatch) -> None:
    # Σ log |det| is that of all it does to the maps, the prototype's Gaussian among it.
    torch.manual_seed(0)
    flow = network([2, 2, 2, 3])
    for parameter in flow.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    flow.double()
    maps = [torch.randn(1, 2, side, side).double() for side in (4, 2, 2)]
    deepest = torch.randn(1, 3, 2, 2).double()
    actual = flow([*maps, deepest]).log_det.item()

    conditions: list[tuple[torch.Tensor, torch.Tensor]] = []
    original = flow._condition

    def frozen(*_: Any) -> tuple[torch.Tensor, torch.Tensor]:
        # As a function of the maps, with the conditions that they had held still.
        return conditions.pop(0)

    def noting(*given: Any) -> tuple[torch.Tensor, torch.Tensor]:
        conditions.append(original(*given))
        return conditions[-1]

    def flat(numbers: torch.Tensor) -> torch.Tensor:
        parts = numbers.split([layer_map.numel() for layer_map in maps])
        shaped = [
            part.reshape(layer_map.shape) for part, layer_map in zip(parts, maps, strict=True)
        ]
        return torch.cat([layer_map.flatten() for layer_map in flow([*shaped, deepest]).maps])

    monkeypatch.setattr(flow, "_condition", noting)
    numbers = torch.cat([layer_map.flatten() for layer_map in maps])
    flat(numbers)
    monkeypatch.setattr(flow, "_condition", frozen)
    jacobian = torch.autograd.functional.jacobian(flat, numbers)
    assert actual == pytest.approx(float(torch.linalg.slogdet(jacobian).logabsdet), abs=1e-6)


def test_the_published_loss_leaves_the_deviation_out() -> None:
    maps = [torch.randn(2, 4, side, side) for side in (4, 2, 2)] + [torch.randn(2, 3, 2, 2)]
    log_dets = []
    for log_sigma in (True, False):
        torch.manual_seed(0)
        flow = network([4, 4, 4, 3], log_sigma)
        for gaussian in flow.gaussians:
            gaussian.get_parameter("bias").data[4:] = 3.0
        log_dets.append(flow(maps).log_det)
    # 4 channels at 16 + 4 + 4 places lose log 3 each, nearly.
    assert torch.allclose(log_dets[1] - log_dets[0], torch.full((2,), 4 * 24 * 1.0986), rtol=0.05)
