"""The network that tells noise from image.

A UNet with blocks and attention (ADM, Dhariwal & Nichol 2021).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

GROUPS = 32
"""Of channels that are normalised together, as published.

Fewer where a group would be a single channel.
"""

MAX_TIME_WAVELENGTH = 10_000.0
"""Ratio of the longest wavelength of the code of a level to the shortest."""


class UNet(nn.Module):
    """Noisy images and their level of noise to the noise in them.

    Args:
        base: channels at the finest scale.
        multipliers: of them at each scale; every scale is half the size of the one before.
        blocks: residual blocks at each scale.
        attend: the first scale, counted from 0, whose blocks are followed by attention.
        heads: of the attention.
        dropout: share of numbers that are left out in training.
    """

    def __init__(
        self,
        base: int,
        multipliers: Sequence[int],
        blocks: int,
        attend: int,
        heads: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.base, time_embedding = base, 4 * base
        self.time_mlp = nn.Sequential(
            nn.Linear(base, time_embedding), nn.SiLU(), nn.Linear(time_embedding, time_embedding)
        )
        self.conv_in = nn.Conv2d(3, base, 3, padding=1)

        def block(
            in_channels: int, out_channels: int, scale: int, resize: float = 1.0
        ) -> nn.Module:
            attention = (
                AttentionBlock(out_channels, heads)
                if scale >= attend and resize == 1.0
                else nn.Identity()
            )
            return ResBlock(in_channels, out_channels, time_embedding, resize, dropout, attention)

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
        self.conv_out = nn.Sequential(
            _norm(width), nn.SiLU(), zero_init(nn.Conv2d(width, 3, 3, padding=1))
        )

    def forward(self, noisy: Tensor, levels: Tensor) -> Tensor:
        """Say what the noise is; `levels` has one number an image."""
        time_embedding = self.time_mlp(timestep_embedding(levels, self.base))
        maps = self.conv_in(noisy)
        kept = [maps]
        for block in self.down:
            maps = block(maps, time_embedding)
            kept.append(maps)
        for block in self.middle:
            maps = block(maps, time_embedding)
        for block in self.up:
            if block.resize == 1.0:
                skip = kept.pop()
                # Sides that cannot be halved evenly come back a pixel too long.
                maps = torch.cat([maps[..., : skip.shape[-2], : skip.shape[-1]], skip], dim=1)
            maps = block(maps, time_embedding)
        noise: Tensor = self.conv_out(maps)
        return noise


class ResBlock(nn.Module):
    """A residual block that knows the level of noise.

    It may halve or double the map's sides on its way.

    Args:
        came: channels.
        goes: channels.
        told: length of the code of the level.
        resize: 1, or what sides are multiplied by: 0.5 or 2.
        dropout: share of numbers left out in training.
        attention: what follows.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        time_embedding: int,
        resize: float,
        dropout: float,
        attention: nn.Module,
    ) -> None:
        super().__init__()
        self.resize, self.attention = resize, attention
        self.begin, self.widen = (
            nn.Sequential(_norm(in_channels), nn.SiLU()),
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
        )
        self.time_mlp = nn.Sequential(nn.SiLU(), nn.Linear(time_embedding, out_channels))
        self.end = nn.Sequential(
            *(_norm(out_channels), nn.SiLU(), nn.Dropout(dropout)),
            zero_init(nn.Conv2d(out_channels, out_channels, 3, padding=1)),
        )
        self.shortcut = (
            nn.Conv2d(in_channels, out_channels, 1)
            if in_channels != out_channels
            else nn.Identity()
        )

    def forward(self, maps: Tensor, time_embedding: Tensor) -> Tensor:
        """Treat a map."""
        inner = (
            self.widen(self._resized(self.begin(maps)))
            + self.time_mlp(time_embedding)[:, :, None, None]
        )
        treated: Tensor = self.attention(self.shortcut(self._resized(maps)) + self.end(inner))
        return treated

    def _resized(self, maps: Tensor) -> Tensor:
        if self.resize == 1.0:
            return maps
        if self.resize < 1:
            maps = functional.avg_pool2d(maps, 2, ceil_mode=True)
        else:
            maps = functional.interpolate(maps, scale_factor=self.resize, mode="nearest")
        return maps


class AttentionBlock(nn.Module):
    """Each position of a map looks at all others.

    Args:
        channels: of the map.
        heads: ways to look.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Sequential(_norm(channels), nn.Conv2d(channels, 3 * channels, 1))
        self.proj_out = zero_init(nn.Conv2d(channels, channels, 1))

    def forward(self, maps: Tensor) -> Tensor:
        """Treat a map."""
        rows = maps.shape[-2]
        # Contiguous, without which torch takes the slow way on a CPU.
        asked = rearrange(
            self.qkv(maps), "b (three n c) h w -> three b n (h w) c", three=3, n=self.heads
        ).contiguous()
        found: Tensor = rearrange(
            functional.scaled_dot_product_attention(*asked), "b n (h w) c -> b (n c) h w", h=rows
        )
        treated: Tensor = maps + self.proj_out(found)
        return treated


def timestep_embedding(levels: Tensor, length: int) -> Tensor:
    """Say levels in sines and cosines, (image, length)."""
    half = length // 2
    pace = torch.exp(
        -math.log(MAX_TIME_WAVELENGTH) * torch.arange(half, device=levels.device) / half
    )
    angles = levels.float()[:, None] * pace
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def _norm(channels: int) -> nn.GroupNorm:
    # A channel by itself would lose what the level of noise adds to it: a constant is normalised
    # away.
    return nn.GroupNorm(math.gcd(GROUPS, channels, channels // 2), channels)


def zero_init(layer: nn.Conv2d) -> nn.Conv2d:
    """Let a layer begin with zeros."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
