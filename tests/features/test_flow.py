from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from flawmap.features.flow import CouplingBlock, CouplingStack, CrossScaleCoupling


def shaken(module: torch.nn.Module) -> torch.nn.Module:
    """The module with weights that change something, in float64."""
    torch.manual_seed(1)
    for parameter in module.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return module.double()


def log_det_of(function: Callable[[Tensor], Tensor], at: Tensor) -> float:
    jacobian = torch.autograd.functional.jacobian(function, at).reshape(at.numel(), at.numel())
    return float(torch.linalg.slogdet(jacobian).logabsdet)


@pytest.mark.parametrize("channels", [6, 5])
def test_a_block_can_be_undone_and_knows_its_determinant(channels: int) -> None:
    torch.manual_seed(0)
    block = shaken(CouplingBlock(channels, 3))
    maps, condition = torch.randn(2, channels, 2, 2).double(), torch.randn(2, 3, 2, 2).double()
    flowed = block(maps, condition)
    assert (block.inverse(flowed.maps, condition) - maps).abs().max() < 1e-4  # type: ignore[operator]
    assert not torch.allclose(flowed.maps, maps, atol=0.1)
    for place in range(2):
        one, beside = maps[place, None], condition[place, None]
        wanted = log_det_of(lambda came, beside=beside: block(came, beside).maps, one)
        assert flowed.log_det[place].item() == pytest.approx(wanted, abs=1e-6)


def test_a_block_begins_without_scaling() -> None:
    block = CouplingBlock(4, 2)
    assert block.scale.flatten()[0].item() == pytest.approx(9.986479, abs=1e-5)
    assert torch.allclose(block._scale(), torch.ones(1, 4, 1, 1))


def test_determinants_of_several_blocks_add_up() -> None:
    torch.manual_seed(0)
    blocks = shaken(CouplingStack(CouplingBlock(4, 2) for _ in range(3)))
    maps, condition = torch.randn(1, 4, 2, 2).double(), torch.randn(1, 2, 2, 2).double()
    wanted = log_det_of(lambda came: blocks(came, condition).maps, maps)
    assert blocks(maps, condition).log_det.item() == pytest.approx(wanted, abs=1e-6)


def test_maps_of_several_sizes_change_together_can_be_undone_and_know_their_determinant() -> None:
    torch.manual_seed(0)
    fusion = shaken(CrossScaleCoupling([4, 5], 3))
    maps = [torch.randn(1, 4, 4, 4).double(), torch.randn(1, 5, 2, 2).double()]
    condition = torch.randn(1, 3, 2, 2).double()
    fused = fusion(maps, condition)
    for back, came in zip(fusion.inverse(fused.maps, condition), maps, strict=True):  # type: ignore[operator]
        assert (back - came).abs().max() < 1e-4

    def flat(numbers: Tensor) -> Tensor:
        fine, coarse = numbers.split([64, 20])
        changed = fusion([fine.reshape(1, 4, 4, 4), coarse.reshape(1, 5, 2, 2)], condition).maps
        return torch.cat([one.flatten() for one in changed])

    wanted = log_det_of(flat, torch.cat([one.flatten() for one in maps]))
    assert fused.log_det.item() == pytest.approx(wanted, abs=1e-6)


def test_log_scales_end() -> None:
    # Golden numbers of methods.md, appendix A: log-scales of 3, before they are bounded.
    maps, condition = torch.zeros(1, 2, 1, 1), torch.zeros(1, 1, 1, 1)
    block = CouplingBlock(2, 1)
    torch.nn.init.zeros_(block.net[3].weight)
    torch.nn.init.constant_(block.net[3].bias, 30)
    assert block(maps, condition).log_det.item() == pytest.approx(1.745031, abs=1e-5)
    fusion = CrossScaleCoupling([2], 1)
    for network in (fusion.by_first, fusion.by_second):
        torch.nn.init.constant_(network.heads[0].bias, 3)
    assert fusion([maps], condition).log_det.item() == pytest.approx(2 * 1.215925, abs=1e-5)
    torch.nn.init.constant_(block.net[3].bias, 1e6)
    assert block(maps, condition).log_det.item() == pytest.approx(1.9, rel=1e-4)
