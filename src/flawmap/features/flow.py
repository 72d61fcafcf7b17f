"""Normalising flows over maps: invertible, with a known determinant, so that they give a density.

Affine coupling with a condition (Dinh et al. 2017; Ardizzone et al. 2019), and one over several
maps at once, as VQ-Flow (Zhou et al. 2024) has them. Written from the formulas: a flow of this kind
is a page, and the library that has one asks for NumPy and SciPy of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from flawmap.support.tensors import Features, PerImage

_CLAMP = 1.9
"""Log-scales stay within about ± this."""

_ATAN_SCALE = 0.636
"""About 2/π, so that the scaled arc tangent stays within ±1."""

_ACTIVATION_CLIP = 1e6
"""Largest absolute value of a map after a cross-scale coupling."""

_BOTTLENECK = 4
"""How many times fewer channels the network over all maps has within."""


class FlowOutput(NamedTuple):
    """A map after a flow.

    Args:
        maps: (batch, channel, row, column).
        log_det: log determinant of the flow's Jacobian, per image.
    """

    maps: Features
    log_det: PerImage


class _CrossScaleOutput(NamedTuple):
    """The maps of all scales after a joint flow.

    Args:
        maps: (batch, channel, row, column) each.
        log_det: log determinant of the flow's Jacobian, per image.
    """

    maps: list[Features]
    log_det: PerImage


class _Affine(NamedTuple):
    """How half of a map's channels are changed: y = x · exp(log_scale) + shift."""

    log_scale: Tensor
    shift: Tensor

    def apply(self, maps: Tensor) -> Tensor:
        return maps * self.log_scale.exp() + self.shift

    def undo(self, maps: Tensor) -> Tensor:
        return (maps - self.shift) * (-self.log_scale).exp()

    def log_det(self) -> Tensor:
        return self.log_scale.sum(dim=(1, 2, 3))


class _ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each position."""

    def forward(self, features: Features) -> Features:
        normed: Tensor = super().forward(features.permute(0, 2, 3, 1))
        return normed.permute(0, 3, 1, 2)


class CouplingBlock(nn.Module):
    """One step of a flow: affine coupling, then a scale, an offset and a permutation of channels.

    Half of the channels are scaled and shifted by what the other half and the condition determine.
    With (x₁, x₂) the first and last half of the channels, a = 0.1 · net(x₁, condition): s = α
    tanh(a₁ / α), α = 1.9; y₂ = x₂ eˢ + a₂; times g = 0.1 · softplus(γ) with β = ½ per channel, plus
    an offset. log |det| = Σ s + H · W · Σ log g.

    Args:
        channels: of the map, 2 or more.
        condition_channels: of the condition.

    Example:
        >>> block = CouplingBlock(6, 3)
        >>> maps = torch.randn(2, 6, 4, 4)
        >>> condition = torch.randn(2, 3, 4, 4)
        >>> flowed = block(maps, condition)
        >>> torch.allclose(block.inverse(flowed.maps, condition), maps, atol=1e-4)
        True
    """

    def __init__(self, channels: int, condition_channels: int) -> None:
        super().__init__()
        self._changed = channels // 2
        self._kept = channels - self._changed
        width = self._kept + condition_channels
        self.net = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            _ChannelNorm(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * self._changed, 3, padding=1),
        )
        # So that g begins as 1: softplus(γ) with β = ½ is 2 log(1 + exp(γ / 2)).
        first_scale = 2 * math.log(math.expm1(5))
        self.scale = nn.Parameter(torch.full((1, channels, 1, 1), first_scale))
        self.offset = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.order: Tensor
        self.register_buffer("order", torch.randperm(channels))

    def forward(self, maps: Features, condition: Features) -> FlowOutput:
        """One step towards the Gaussian.

        Args:
            maps: (batch, channel, row, column).
            condition: (batch, channel, row, column), of the same size.
        """
        kept, changed = maps.split([self._kept, self._changed], dim=1)
        affine = self._affine(kept, condition)
        scale = self._scale()
        joined = torch.cat([kept, affine.apply(changed)], dim=1) * scale + self.offset
        log_det = affine.log_det() + maps[0, 0].numel() * scale.log().sum()
        return FlowOutput(joined[:, self.order], log_det)

    def inverse(self, maps: Features, condition: Features) -> Features:
        """The maps that `forward` makes these of.

        Args:
            maps: after the step.
            condition: the same as in the step.
        """
        joined = (maps[:, self.order.argsort()] - self.offset) / self._scale()
        kept, changed = joined.split([self._kept, self._changed], dim=1)
        return torch.cat([kept, self._affine(kept, condition).undo(changed)], dim=1)

    def _affine(self, kept: Features, condition: Features) -> _Affine:
        output = 0.1 * self.net(torch.cat([kept, condition], dim=1))
        raw, shift = output.chunk(2, dim=1)
        return _Affine(_CLAMP * torch.tanh(raw / _CLAMP), shift)

    def _scale(self) -> Tensor:
        return 0.1 * functional.softplus(self.scale, beta=0.5)


class CouplingStack(nn.Module):
    """Coupling blocks one after the other, under the same condition.

    Args:
        blocks: in the order of the way to the Gaussian.
    """

    def __init__(self, blocks: Iterable[CouplingBlock]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, maps: Features, condition: Features) -> FlowOutput:
        """All steps towards the Gaussian.

        Args:
            maps: (batch, channel, row, column).
            condition: (batch, channel, row, column), of the same size.
        """
        log_det = torch.zeros_like(maps[:, 0, 0, 0])
        for block in self.blocks:
            flowed = block(maps, condition)
            maps = flowed.maps
            log_det = log_det + flowed.log_det
        return FlowOutput(maps, log_det)


class CrossScaleCoupling(nn.Module):
    """One step of a flow over maps of several sizes at once.

    Half of the channels of all maps determine how to change the other half of each; then the other
    way round. log-scale = 1.9 · 0.636 · atan(· / 1.9).

    Args:
        channels: of each map, fine to coarse.
        condition_channels: of the condition, which has the size of the smallest map or less.
    """

    def __init__(self, channels: Sequence[int], condition_channels: int) -> None:
        super().__init__()
        second = [count // 2 for count in channels]
        first = [count - half for count, half in zip(channels, second, strict=True)]
        self._halves = list(zip(first, second, strict=True))
        self.by_first = _CrossScaleNetwork(first, second, condition_channels)
        self.by_second = _CrossScaleNetwork(second, first, condition_channels)
        for index, count in enumerate(channels):
            self.register_buffer(f"order{index}", torch.randperm(count))

    def forward(self, maps: Sequence[Features], condition: Features) -> _CrossScaleOutput:
        """One step towards the Gaussian with all maps.

        Args:
            maps: (batch, channel, row, column) each.
            condition: (batch, channel, row, column).
        """
        permuted = [
            layer_map[:, order] for layer_map, order in zip(maps, self._orders(), strict=True)
        ]
        first, second = self._split(permuted)
        of_second = self.by_first(first, condition)
        second = [affine.apply(half) for affine, half in zip(of_second, second, strict=True)]
        of_first = self.by_second(second, condition)
        first = [affine.apply(half) for affine, half in zip(of_first, first, strict=True)]
        joined = [
            torch.cat(halves, dim=1).clamp(-_ACTIVATION_CLIP, _ACTIVATION_CLIP)
            for halves in zip(first, second, strict=True)
        ]
        return _CrossScaleOutput(joined, _log_det(of_second) + _log_det(of_first))

    def inverse(self, maps: Sequence[Features], condition: Features) -> list[Features]:
        """The maps that `forward` makes these of.

        Args:
            maps: after the step.
            condition: the same as in the step.
        """
        first, second = self._split(maps)
        of_first = self.by_second(second, condition)
        first = [affine.undo(half) for affine, half in zip(of_first, first, strict=True)]
        of_second = self.by_first(first, condition)
        second = [affine.undo(half) for affine, half in zip(of_second, second, strict=True)]
        joined = [torch.cat(halves, dim=1) for halves in zip(first, second, strict=True)]
        return [
            layer_map[:, order.argsort()]
            for layer_map, order in zip(joined, self._orders(), strict=True)
        ]

    def _orders(self) -> list[Tensor]:
        return [self.get_buffer(f"order{index}") for index in range(len(self._halves))]

    def _split(self, maps: Sequence[Features]) -> tuple[list[Tensor], list[Tensor]]:
        """First and second half of the channels of each map."""
        first = []
        second = []
        for layer_map, sizes in zip(maps, self._halves, strict=True):
            halves = layer_map.split(list(sizes), dim=1)
            first.append(halves[0])
            second.append(halves[1])
        return first, second


class _CrossScaleNetwork(nn.Module):
    """Computes from half of the channels of all maps how to change the other half of each.

    `in_channels` are read and `out_channels` changed, of each map.
    """

    def __init__(
        self, in_channels: Sequence[int], out_channels: Sequence[int], condition_channels: int
    ) -> None:
        super().__init__()
        self._in_channels = list(in_channels)
        width = sum(in_channels) + condition_channels
        narrow = max(1, width // _BOTTLENECK)
        self.joint = nn.Sequential(
            nn.Conv2d(width, narrow, 3, padding=1),
            _ChannelNorm(narrow),
            nn.ReLU(),
            nn.Conv2d(narrow, sum(in_channels), 3, padding=1),
            nn.ReLU(),
        )
        self.heads = nn.ModuleList()
        for read, changed in zip(in_channels, out_channels, strict=True):
            self.heads.append(nn.Conv2d(read, 2 * changed, 3, padding=1))
        for parameter in self.heads.parameters():
            # Begins with changing nothing.
            nn.init.zeros_(parameter)

    def forward(self, maps: list[Tensor], condition: Tensor) -> list[_Affine]:
        rows, columns = condition.shape[-2:]
        small = [
            functional.interpolate(layer_map, size=(rows, columns), mode="area")
            for layer_map in maps
        ]
        joint = self.joint(torch.cat([*small, condition], dim=1))
        affines = []
        per_map = joint.split(self._in_channels, dim=1)
        for layer_map, context, head in zip(maps, per_map, self.heads, strict=True):
            size = layer_map.shape[-2:]
            resized = functional.interpolate(context, size=size, mode="bilinear")
            raw, shift = head(layer_map + resized).chunk(2, dim=1)
            affines.append(_Affine(_CLAMP * _ATAN_SCALE * torch.atan(raw / _CLAMP), shift))
        return affines


def _log_det(affines: list[_Affine]) -> Tensor:
    return torch.stack([affine.log_det() for affine in affines]).sum(dim=0)
