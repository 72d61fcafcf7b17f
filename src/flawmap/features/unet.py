"""The network that tells noise from picture: a UNet with blocks and attention (ADM, Dhariwal & Nichol 2021)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

GROUPS = 32
"""Of channels that are normalised together, as published; fewer where a group would be a single channel."""

SLOWEST = 10_000.0
"""Ratio of the longest wavelength of the code of a level to the shortest."""


class UNet(nn.Module):
    """Noisy pictures and their level of noise to the noise in them.

    Args:
        base: channels at the finest scale.
        multipliers: of them at each scale; every scale is half the size of the one before.
        blocks: residual blocks at each scale.
        attend: the first scale, counted from 0, whose blocks are followed by attention.
        heads: of the attention.
        dropout: share of numbers that are left out in training.
    """

    def __init__(
        self, base: int, multipliers: Sequence[int], blocks: int, attend: int, heads: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.base, told = base, 4 * base
        self.tell = nn.Sequential(nn.Linear(base, told), nn.SiLU(), nn.Linear(told, told))
        self.first = nn.Conv2d(3, base, 3, padding=1)

        def block(came: int, goes: int, scale: int, resize: float = 1.0) -> nn.Module:
            attention = Attention(goes, heads) if scale >= attend and resize == 1.0 else nn.Identity()
            return Block(came, goes, told, resize, dropout, attention)

        width, kept = base, [base]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for scale, times in enumerate(multipliers):
            for _ in range(blocks):
                self.down.append(block(width, times * base, scale))
                width = times * base
                kept.append(width)
            if scale + 1 < len(multipliers):
                self.down.append(block(width, width, scale, 0.5))
                kept.append(width)
        self.middle = nn.ModuleList([block(width, width, attend), block(width, width, -1)])
        for scale, times in reversed(list(enumerate(multipliers))):
            for place in range(blocks + 1):
                self.up.append(block(width + kept.pop(), times * base, scale))
                width = times * base
                if scale and place == blocks:
                    self.up.append(block(width, width, scale, 2.0))
        self.last = nn.Sequential(_norm(width), nn.SiLU(), _silent(nn.Conv2d(width, 3, 3, padding=1)))

    def forward(self, noisy: Tensor, levels: Tensor) -> Tensor:
        """Say what the noise is; `levels` has one number a picture."""
        told = self.tell(_code(levels, self.base))
        maps = self.first(noisy)
        kept = [maps]
        for block in self.down:
            maps = block(maps, told)
            kept.append(maps)
        for block in self.middle:
            maps = block(maps, told)
        for block in self.up:
            if block.resize == 1.0:
                beside = kept.pop()
                # Sides that cannot be halved evenly come back a pixel too long.
                maps = torch.cat([maps[..., : beside.shape[-2], : beside.shape[-1]], beside], dim=1)
            maps = block(maps, told)
        noise: Tensor = self.last(maps)
        return noise


class Block(nn.Module):
    """A residual block that knows the level of noise; it may halve or double the map's sides on its way.

    Args:
        came: channels.
        goes: channels.
        told: length of the code of the level.
        resize: 1, or what sides are multiplied by: 0.5 or 2.
        dropout: share of numbers left out in training.
        attention: what follows.
    """

    def __init__(self, came: int, goes: int, told: int, resize: float, dropout: float, attention: nn.Module) -> None:
        super().__init__()
        self.resize, self.attention = resize, attention
        self.begin, self.widen = nn.Sequential(_norm(came), nn.SiLU()), nn.Conv2d(came, goes, 3, padding=1)
        self.tell = nn.Sequential(nn.SiLU(), nn.Linear(told, goes))
        self.end = nn.Sequential(
            *(_norm(goes), nn.SiLU(), nn.Dropout(dropout)), _silent(nn.Conv2d(goes, goes, 3, padding=1))
        )
        self.past = nn.Conv2d(came, goes, 1) if came != goes else nn.Identity()

    def forward(self, maps: Tensor, told: Tensor) -> Tensor:
        """Treat a map."""
        inner = self.widen(self._resized(self.begin(maps))) + self.tell(told)[:, :, None, None]
        treated: Tensor = self.attention(self.past(self._resized(maps)) + self.end(inner))
        return treated

    def _resized(self, maps: Tensor) -> Tensor:
        if self.resize == 1.0:
            return maps
        if self.resize < 1:
            maps = functional.avg_pool2d(maps, 2, ceil_mode=True)
        else:
            maps = functional.interpolate(maps, scale_factor=self.resize, mode="nearest")
        return maps


class Attention(nn.Module):
    """Each position of a map looks at all others.

    Args:
        channels: of the map.
        heads: ways to look.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ask = nn.Sequential(_norm(channels), nn.Conv2d(channels, 3 * channels, 1))
        self.answer = _silent(nn.Conv2d(channels, channels, 1))

    def forward(self, maps: Tensor) -> Tensor:
        """Treat a map."""
        rows = maps.shape[-2]
        # Contiguous, without which torch takes the slow way on a CPU.
        asked = rearrange(self.ask(maps), "b (three n c) h w -> three b n (h w) c", three=3, n=self.heads).contiguous()
        found: Tensor = rearrange(functional.scaled_dot_product_attention(*asked), "b n (h w) c -> b (n c) h w", h=rows)
        treated: Tensor = maps + self.answer(found)
        return treated


def _code(levels: Tensor, length: int) -> Tensor:
    """Say levels in sines and cosines, (picture, length)."""
    half = length // 2
    pace = torch.exp(-math.log(SLOWEST) * torch.arange(half, device=levels.device) / half)
    angles = levels.float()[:, None] * pace
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def _norm(channels: int) -> nn.GroupNorm:
    # A channel by itself would lose what the level of noise adds to it: a constant is normalised away.
    return nn.GroupNorm(math.gcd(GROUPS, channels, channels // 2), channels)


def _silent(layer: nn.Conv2d) -> nn.Conv2d:
    """Let a layer begin with zeros."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
