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

CLAMP = 1.9
"""Log-scales stay within about ± this."""

ATAN_SCALE = 0.636
"""About 2/π: what the arc tangent is multiplied by for ± 1 at most."""

ACTIVATION_CLIP = 1e6
"""What a fused map's numbers are cut off at."""

BOTTLENECK = 4
"""How much narrower the net over all maps is within."""


class FlowOutput(NamedTuple):
    """A map after a flow, and the log determinant of its Jacobian per image."""

    maps: Features
    log_det: PerImage


class CrossScaleOutput(NamedTuple):
    """Maps after a joint flow, and the log determinant of its Jacobian per image."""

    maps: list[Features]
    log_det: PerImage


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each position."""

    def forward(self, features: Features) -> Features:
        """Normalise a map."""
        normed: Tensor = super().forward(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return normed


class CouplingBlock(nn.Module):
    """One step: some channels are scaled and shifted as the others and a condition say.

    Then scaled, shifted, permuted.

    With (x₁, x₂) the first and last half of the channels, a = 0.1 · net(x₁, condition): s = α
    tanh(a₁ / α), α = 1.9; y₂ = x₂ eˢ + a₂; times g = 0.1 · softplus(γ) with β = ½ per channel, plus
    an offset. log |det| = Σ s + H · W · Σ log g.

    Args:
        channels: of the map.
        condition: channels of what stands beside it.
    """

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.changed = channels // 2
        self.kept = channels - self.changed
        width = self.kept + condition
        self.net = nn.Sequential(
            *(nn.Conv2d(width, width, 3, padding=1), ChannelNorm(width), nn.ReLU()),
            nn.Conv2d(width, 2 * self.changed, 3, padding=1),
        )
        # So that g begins as 1: softplus(γ) with β = ½ is 2 log(1 + exp(γ / 2)).
        self.scale = nn.Parameter(torch.full((1, channels, 1, 1), 2 * math.log(math.expm1(5))))
        self.offset = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.order: Tensor
        self.register_buffer("order", torch.randperm(channels))

    def forward(self, maps: Features, condition: Features) -> FlowOutput:
        """Go one step towards the Gaussian."""
        kept, changed = maps.split([self.kept, self.changed], dim=1)
        log_scale, shift = self._ask(kept, condition)
        scale = self._scale()
        joined = torch.cat([kept, changed * log_scale.exp() + shift], dim=1) * scale + self.offset
        log_det = log_scale.sum(dim=(1, 2, 3)) + maps[0, 0].numel() * scale.log().sum()
        return FlowOutput(joined[:, self.order], log_det)

    def inverse(self, maps: Features, condition: Features) -> Features:
        """Go back."""
        joined = (maps[:, self.order.argsort()] - self.offset) / self._scale()
        kept, changed = joined.split([self.kept, self.changed], dim=1)
        log_scale, shift = self._ask(kept, condition)
        return torch.cat([kept, (changed - shift) * (-log_scale).exp()], dim=1)

    def _ask(self, kept: Features, condition: Features) -> tuple[Tensor, Tensor]:
        asked = 0.1 * self.net(torch.cat([kept, condition], dim=1))
        raw, shift = asked.chunk(2, dim=1)
        return CLAMP * torch.tanh(raw / CLAMP), shift

    def _scale(self) -> Tensor:
        return 0.1 * functional.softplus(self.scale, beta=0.5)


class CouplingStack(nn.Module):
    """Steps one after the other, under the same condition."""

    def __init__(self, blocks: Iterable[CouplingBlock]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, maps: Features, condition: Features) -> FlowOutput:
        """Take all steps towards the Gaussian."""
        flowed = FlowOutput(maps, torch.zeros_like(maps[:, 0, 0, 0]))
        for block in self.blocks:
            changed = block(flowed.maps, condition)
            flowed = FlowOutput(changed.maps, flowed.log_det + changed.log_det)
        return flowed


class CrossScaleCoupling(nn.Module):
    """One step over maps of several sizes at once.

    Half of the channels of all tell how to change the others of each.

    Both halves are changed, one after the other. log-scale = 1.9 · 0.636 · atan(· / 1.9).

    Args:
        channels: of each map.
        condition: channels of what stands beside them, of the size of the smallest.
    """

    def __init__(self, channels: Sequence[int], condition: int) -> None:
        super().__init__()
        second = [one // 2 for one in channels]
        first = [one - half for one, half in zip(channels, second, strict=True)]
        self.halves = list(zip(first, second, strict=True))
        self.by_first, self.by_second = (
            _Joint(first, second, condition),
            _Joint(second, first, condition),
        )
        for place, one in enumerate(channels):
            self.register_buffer(f"order{place}", torch.randperm(one))

    def forward(self, maps: Sequence[Features], condition: Features) -> CrossScaleOutput:
        """Go one step towards the Gaussian with all maps."""
        orders = [self.get_buffer(f"order{place}") for place in range(len(maps))]
        halves = [
            one[:, order].split(list(half), dim=1)
            for one, order, half in zip(maps, orders, self.halves, strict=True)
        ]
        first, second = [half[0] for half in halves], [half[1] for half in halves]
        second, by_first = self._change(second, self.by_first(first, condition))
        first, by_second = self._change(first, self.by_second(second, condition))
        joined = [
            torch.cat(both, dim=1).clamp(-ACTIVATION_CLIP, ACTIVATION_CLIP)
            for both in zip(first, second, strict=True)
        ]
        return CrossScaleOutput(joined, by_first + by_second)

    def inverse(self, maps: Sequence[Features], condition: Features) -> list[Features]:
        """Go back."""
        halves = [one.split(list(half), dim=1) for one, half in zip(maps, self.halves, strict=True)]
        first, second = [half[0] for half in halves], [half[1] for half in halves]
        first = self._change_back(first, self.by_second(second, condition))
        second = self._change_back(second, self.by_first(first, condition))
        orders = [self.get_buffer(f"order{place}").argsort() for place in range(len(maps))]
        joined = [torch.cat(both, dim=1) for both in zip(first, second, strict=True)]
        return [one[:, order] for one, order in zip(joined, orders, strict=True)]

    @staticmethod
    def _change(
        maps: list[Tensor], asked: list[tuple[Tensor, Tensor]]
    ) -> tuple[list[Tensor], Tensor]:
        changed = [
            one * scale.exp() + shift for one, (scale, shift) in zip(maps, asked, strict=True)
        ]
        return changed, torch.stack([scale.sum(dim=(1, 2, 3)) for scale, _ in asked]).sum(dim=0)

    @staticmethod
    def _change_back(maps: list[Tensor], asked: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
        return [
            (one - shift) * (-scale).exp() for one, (scale, shift) in zip(maps, asked, strict=True)
        ]


class _Joint(nn.Module):
    """Looks at some channels of all maps.

    Says by how much to scale and shift the others of each.
    """

    def __init__(self, seen: Sequence[int], asked: Sequence[int], condition: int) -> None:
        super().__init__()
        self.seen = list(seen)
        width = sum(seen) + condition
        narrow = max(1, width // BOTTLENECK)
        self.look = nn.Sequential(
            *(nn.Conv2d(width, narrow, 3, padding=1), ChannelNorm(narrow), nn.ReLU()),
            *(nn.Conv2d(narrow, sum(seen), 3, padding=1), nn.ReLU()),
        )
        heads = (
            nn.Conv2d(one, 2 * other, 3, padding=1) for one, other in zip(seen, asked, strict=True)
        )
        self.heads = nn.ModuleList(heads)
        for head in self.heads:
            # Begins with changing nothing.
            nn.init.zeros_(head.weight)  # type: ignore[arg-type]
            nn.init.zeros_(head.bias)  # type: ignore[arg-type]

    def forward(self, maps: list[Tensor], condition: Tensor) -> list[tuple[Tensor, Tensor]]:
        rows, columns = condition.shape[-2:]
        small = [functional.interpolate(one, size=(rows, columns), mode="area") for one in maps]
        looked = self.look(torch.cat([*small, condition], dim=1)).split(self.seen, dim=1)
        found = []
        for one, part, head in zip(maps, looked, self.heads, strict=True):
            back = functional.interpolate(part, size=one.shape[-2:], mode="bilinear")
            raw, shift = head(one + back).chunk(2, dim=1)
            found.append((CLAMP * ATAN_SCALE * torch.atan(raw / CLAMP), shift))
        return found
