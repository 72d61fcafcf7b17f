from __future__ import annotations

from collections.abc import Callable
from functools import partial

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


def flow_maps(block: torch.nn.Module, condition: Tensor, maps: Tensor) -> Tensor:
    flowed: Tensor = block(maps, condition).maps
    return flowed


@pytest.mark.parametrize("channels", [6, 5])
def test_a_block_can_be_undone_and_knows_its_determinant(channels: int) -> None:
    torch.manual_seed(0)
    block = shaken(CouplingBlock(channels, 3))
    maps, condition = torch.randn(2, channels, 2, 2).double(), torch.randn(2, 3, 2, 2).double()
    flowed = block(maps, condition)
    assert (block.inverse(flowed.maps, condition) - maps).abs().max() < 1e-4  # type: ignore[operator]
    assert not torch.allclose(flowed.maps, maps, atol=0.1)
    for index in range(2):
        flow_one = partial(flow_maps, block, condition[index, None])
        expected = log_det_of(flow_one, maps[index, None])
        assert flowed.log_det[index].item() == pytest.approx(expected, abs=1e-6)


def test_a_block_begins_without_scaling() -> None:
    block = CouplingBlock(4, 2)
    assert block.scale.flatten()[0].item() == pytest.approx(9.986479, abs=1e-5)
    assert torch.allclose(block._scale(), torch.ones(1, 4, 1, 1))


def test_determinants_of_several_blocks_add_up() -> None:
    torch.manual_seed(0)
    blocks = shaken(CouplingStack(CouplingBlock(4, 2) for _ in range(3)))
    maps, condition = torch.randn(1, 4, 2, 2).double(), torch.randn(1, 2, 2, 2).double()
    expected = log_det_of(lambda layer_map: blocks(layer_map, condition).maps, maps)
    assert blocks(maps, condition).log_det.item() == pytest.approx(expected, abs=1e-6)


def test_maps_of_several_sizes_change_together_can_be_undone_and_know_their_determinant() -> None:
    torch.manual_seed(0)
    fusion = shaken(CrossScaleCoupling([4, 5], 3))
    maps = [torch.randn(1, 4, 4, 4).double(), torch.randn(1, 5, 2, 2).double()]
    condition = torch.randn(1, 3, 2, 2).double()
    fused = fusion(maps, condition)
    inverted = fusion.inverse(fused.maps, condition)  # type: ignore[operator]
    for restored, layer_map in zip(inverted, maps, strict=True):
        assert (restored - layer_map).abs().max() < 1e-4

    def flat(numbers: Tensor) -> Tensor:
        fine, coarse = numbers.split([64, 20])
        changed = fusion([fine.reshape(1, 4, 4, 4), coarse.reshape(1, 5, 2, 2)], condition).maps
        return torch.cat([layer_map.flatten() for layer_map in changed])

    expected = log_det_of(flat, torch.cat([layer_map.flatten() for layer_map in maps]))
    assert fused.log_det.item() == pytest.approx(expected, abs=1e-6)


def test_log_scales_end() -> None:
    # Golden numbers of methods.md, appendix A: log-scales of 3, before they are bounded.
    maps, condition = torch.zeros(1, 2, 1, 1), torch.zeros(1, 1, 1, 1)
    block = CouplingBlock(2, 1)
    torch.nn.init.zeros_(block.net[3].get_parameter("weight"))
    torch.nn.init.constant_(block.net[3].get_parameter("bias"), 30)
    assert block(maps, condition).log_det.item() == pytest.approx(1.745031, abs=1e-5)
    fusion = CrossScaleCoupling([2], 1)
    for network in (fusion.by_first, fusion.by_second):
        torch.nn.init.constant_(network.heads[0].get_parameter("bias"), 3)
    assert fusion([maps], condition).log_det.item() == pytest.approx(2 * 1.215925, abs=1e-5)
    torch.nn.init.constant_(block.net[3].get_parameter("bias"), 1e6)
    assert block(maps, condition).log_det.item() == pytest.approx(1.9, rel=1e-4)
