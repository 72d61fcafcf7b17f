from __future__ import annotations

import pytest
import torch

from flawmap.features.unet import AttentionBlock, UNet


def shaken(module: torch.nn.Module) -> torch.nn.Module:
    torch.manual_seed(1)
    for parameter in module.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return module.eval()


def test_it_begins_with_no_noise_at_all() -> None:
    noise = UNet(8, (1, 2), 1, 1, 2)(torch.randn(2, 3, 16, 24), torch.tensor([0, 999]))
    assert torch.equal(noise, torch.zeros(2, 3, 16, 24))


@pytest.mark.parametrize("size", [(16, 24), (13, 18), (9, 11)])
def test_any_size_comes_back(size: tuple[int, int]) -> None:
    net = shaken(UNet(8, (1, 2, 2), 2, 1, 2))
    assert net(torch.randn(1, 3, *size), torch.tensor([5])).shape == (1, 3, *size)


def test_the_level_matters_and_images_do_not_mix() -> None:
    net, images = shaken(UNet(8, (1, 2), 1, 1, 2)), torch.randn(2, 3, 16, 16)
    together = net(images, torch.tensor([3, 700]))
    differences = [
        (together[:1] - net(images[:1], torch.tensor([level]))).abs().max() for level in (3, 700)
    ]
    assert differences[0] < 1e-4 < 1e-3 < differences[1]


def test_attention_sees_the_full_map() -> None:
    attention, maps = shaken(AttentionBlock(8, 2)), torch.randn(1, 8, 6, 6)
    changed = maps.clone()
    changed[0, :, 0, 0] += 1
    assert (attention(maps) - attention(changed))[0, :, 5, 5].abs().max() > 1e-6


def test_the_published_one_has_its_size() -> None:
    net = UNet(64, (1, 1, 2, 2, 4, 4), 2, 3, 4)
    assert 25e6 < sum(parameter.numel() for parameter in net.parameters()) < 45e6
