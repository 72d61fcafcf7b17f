"""The network that predicts the noise in an image.

A UNet with residual blocks and attention, as in ADM (Dhariwal & Nichol 2021).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from flawmap.features.tensor_shapes import PerImageVectors, Timesteps
from flawmap.support.tensors import Features, Images

_GROUPS = 32
"""Channels that are normalised together, as published; fewer where that would be a single one."""

_MAX_TIME_WAVELENGTH = 10_000.0
"""Ratio of the longest wavelength of a time-step embedding to the shortest."""


class UNet(nn.Module):
    """Noisy images and their time steps to the noise in them; begins with no noise at all.

    Args:
        base_channels: channels at the finest scale.
        channel_multipliers: of them at each scale; a scale has half the size of the one before.
        blocks_per_scale: residual blocks at each scale.
        attention_from_scale: the first scale, counted from 0, whose blocks are followed by
            attention.
        heads: of the attention.
        dropout: fraction of numbers that are set to 0 in training, 0…1.

    Example:
        >>> unet = UNet(8, (1, 2), blocks_per_scale=1, attention_from_scale=1, heads=2)
        >>> unet(torch.randn(2, 3, 16, 24), torch.tensor([0, 999])).shape
        torch.Size([2, 3, 16, 24])
    """

    def __init__(
        self,
        base_channels: int,
        channel_multipliers: Sequence[int],
        blocks_per_scale: int,
        attention_from_scale: int,
        heads: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self._base_channels = base_channels
        self._time_embedding = 4 * base_channels
        self._attention_from_scale = attention_from_scale
        self._heads = heads
        self._dropout = dropout
        widths = [multiplier * base_channels for multiplier in channel_multipliers]
        self.time_mlp = nn.Sequential(
            nn.Linear(base_channels, self._time_embedding),
            nn.SiLU(),
            nn.Linear(self._time_embedding, self._time_embedding),
        )
        self.conv_in = nn.Conv2d(3, base_channels, 3, padding=1)
        self.down = nn.ModuleList()
        skip_widths = self._add_down_blocks(widths, blocks_per_scale)
        self.middle = nn.ModuleList(
            [
                self._make_block(widths[-1], widths[-1], attention_from_scale),
                self._make_block(widths[-1], widths[-1], -1),
            ]
        )
        self.up = nn.ModuleList()
        self._add_up_blocks(widths, blocks_per_scale, skip_widths)
        self.conv_out = nn.Sequential(
            _norm(widths[0]),
            nn.SiLU(),
            _zero_init(nn.Conv2d(widths[0], 3, 3, padding=1)),
        )

    def forward(self, noisy: Images, timesteps: Timesteps) -> Images:
        """The predicted noise, (batch, 3, height, width).

        Args:
            noisy: (batch, 3, height, width), −1…1 without the noise.
            timesteps: (batch,), from 0; the larger, the noisier the image.
        """
        time_embedding = self.time_mlp(_timestep_embedding(timesteps, self._base_channels))
        maps = self.conv_in(noisy)
        skips = [maps]
        for block in self.down:
            maps = block(maps, time_embedding)
            skips.append(maps)
        for block in self.middle:
            maps = block(maps, time_embedding)
        for block in self.up:
            if block.resize == 1.0:
                skip = skips.pop()
                # Sides that cannot be halved evenly come back a pixel too long.
                cropped = maps[..., : skip.shape[-2], : skip.shape[-1]]
                maps = torch.cat([cropped, skip], dim=1)
            maps = block(maps, time_embedding)
        noise: Tensor = self.conv_out(maps)
        return noise

    def _make_block(
        self, in_channels: int, out_channels: int, scale: int, resize: float = 1.0
    ) -> _ResBlock:
        """A block of one scale; −1 stands for no attention."""
        attention: nn.Module = nn.Identity()
        if scale >= self._attention_from_scale and resize == 1.0:
            attention = AttentionBlock(out_channels, self._heads)
        return _ResBlock(
            in_channels, out_channels, self._time_embedding, resize, self._dropout, attention
        )

    def _add_down_blocks(self, widths: list[int], blocks_per_scale: int) -> list[int]:
        """Add blocks from the finest scale to the coarsest; the channels after each, in order."""
        width = self._base_channels
        skip_widths = [width]
        for scale, scale_width in enumerate(widths):
            for _ in range(blocks_per_scale):
                self.down.append(self._make_block(width, scale_width, scale))
                width = scale_width
                skip_widths.append(width)
            if scale + 1 < len(widths):
                self.down.append(self._make_block(width, width, scale, resize=0.5))
                skip_widths.append(width)
        return skip_widths

    def _add_up_blocks(
        self, widths: list[int], blocks_per_scale: int, skip_widths: list[int]
    ) -> None:
        """Add blocks from the coarsest scale to the finest; each also reads a skip connection."""
        width = widths[-1]
        for scale, scale_width in reversed(list(enumerate(widths))):
            for _ in range(blocks_per_scale + 1):
                in_channels = width + skip_widths.pop()
                self.up.append(self._make_block(in_channels, scale_width, scale))
                width = scale_width
            if scale:
                self.up.append(self._make_block(width, width, scale, resize=2.0))


class _ResBlock(nn.Module):
    """A residual block that knows the time step, and may halve or double the map's sides.

    Args:
        in_channels: of the input map.
        out_channels: of the output map.
        time_embedding: length of the time-step embedding.
        resize: factor on the sides: 1, 0.5 or 2.
        dropout: fraction of numbers that are set to 0 in training, 0…1.
        attention: follows the block.
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
        self.resize = resize
        self.attention = attention
        self.norm_in = nn.Sequential(_norm(in_channels), nn.SiLU())
        self.conv_in = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.time_mlp = nn.Sequential(nn.SiLU(), nn.Linear(time_embedding, out_channels))
        self.conv_out = nn.Sequential(
            _norm(out_channels),
            nn.SiLU(),
            nn.Dropout(dropout),
            _zero_init(nn.Conv2d(out_channels, out_channels, 3, padding=1)),
        )
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, maps: Features, time_embedding: PerImageVectors) -> Features:
        """The map after block and attention.

        Args:
            maps: (batch, channel, row, column).
            time_embedding: (batch, length).
        """
        time_shift = self.time_mlp(time_embedding)[:, :, None, None]
        inner = self.conv_in(self._resized(self.norm_in(maps))) + time_shift
        outcome: Tensor = self.attention(self.shortcut(self._resized(maps)) + self.conv_out(inner))
        return outcome

    def _resized(self, maps: Tensor) -> Tensor:
        if self.resize == 1.0:
            return maps
        if self.resize < 1:
            return functional.avg_pool2d(maps, 2, ceil_mode=True)
        return functional.interpolate(maps, scale_factor=self.resize, mode="nearest")


class AttentionBlock(nn.Module):
    """Self-attention over all positions of a map, added to the map.

    Args:
        channels: of the map; divisible by the heads.
        heads: number of attention heads.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Sequential(_norm(channels), nn.Conv2d(channels, 3 * channels, 1))
        self.proj_out = _zero_init(nn.Conv2d(channels, channels, 1))

    def forward(self, maps: Features) -> Features:
        """The map with what attention adds.

        Args:
            maps: (batch, channel, row, column).
        """
        split = "b (three n c) h w -> three b n (h w) c"
        # Contiguous, without which torch takes the slow way on a CPU.
        qkv = rearrange(self.qkv(maps), split, three=3, n=self.heads)
        query, key, value = qkv.contiguous()
        attended = functional.scaled_dot_product_attention(query, key, value)
        joined = rearrange(attended, "b n (h w) c -> b (n c) h w", h=maps.shape[-2])
        outcome: Tensor = maps + self.proj_out(joined)
        return outcome


def _timestep_embedding(timesteps: Timesteps, length: int) -> PerImageVectors:
    """Cosines and sines of time steps at wavelengths from 2π to 2π · 10,000, (batch, length).

    Args:
        timesteps: (batch,), from 0.
        length: of a vector; even.

    >>> _timestep_embedding(torch.tensor([0, 7]), 4)[0]
    tensor([1., 1., 0., 0.])
    """
    half = length // 2
    indices = torch.arange(half, device=timesteps.device)
    frequencies = torch.exp(-math.log(_MAX_TIME_WAVELENGTH) * indices / half)
    angles = timesteps.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def _norm(channels: int) -> nn.GroupNorm:
    # A channel by itself would lose what the time step adds to it: a constant is normalised away.
    return nn.GroupNorm(math.gcd(_GROUPS, channels, channels // 2), channels)


def _zero_init(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
