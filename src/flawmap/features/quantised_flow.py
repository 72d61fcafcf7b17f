"""Normalising flows at three scales under conditions that are quantised by codebooks.

The network of VQ-Flow (Zhou et al. 2024), written from the paper's formulas.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from flawmap.features.codebook import Codebook, sinusoidal_position_encoding
from flawmap.features.flow import CouplingBlock, CouplingStack, CrossScaleCoupling, FlowOutput
from flawmap.features.tensor_shapes import PerImageVectors, Scalar
from flawmap.support.tensors import Features, PerImage

_MIN_VARIANCE = 1e-8
"""Added to variances."""


class VQFlowOutput(NamedTuple):
    """What the flows make of a batch.

    Args:
        maps: of the three finer layers, Gaussian where they are normal.
        log_det: log determinant of the Jacobian, per image.
        commitment: mean square distance from the codes, summed over codebooks.
    """

    maps: list[Features]
    log_det: PerImage
    commitment: Scalar


class VQFlowNetwork(nn.Module):
    """Maps of four layers to Gaussians at the three finer ones.

    Args:
        channels: of the layers' maps, fine to coarse.
        prototypes: number of prototypes of a full image.
        patterns: number of patterns of a position, for each layer.
        prototype_dim: length of a prototype.
        position_dim: length of a position's encoding, divisible by 4.
        flow_steps: coupling blocks at each of the three finer layers.
        log_sigma: whether the log determinant counts the scale of the prototype's Gaussian.
    """

    def __init__(
        self,
        channels: Sequence[int],
        *,
        prototypes: int,
        patterns: int,
        prototype_dim: int,
        position_dim: int,
        flow_steps: Sequence[int],
        log_sigma: bool,
    ) -> None:
        super().__init__()
        *finer, deepest = channels
        self._position_dim = position_dim
        self._log_sigma = log_sigma
        width = position_dim + prototype_dim
        self.summary = nn.Sequential(
            nn.Linear(deepest, prototype_dim),
            nn.BatchNorm1d(prototype_dim),
            nn.ReLU(),
            nn.Linear(prototype_dim, prototype_dim),
            nn.BatchNorm1d(prototype_dim),
            nn.ReLU(),
        )
        self.prototypes = Codebook(prototypes, prototype_dim)
        self.deep = _pointwise(deepest, width)
        self.projections = nn.ModuleList(
            nn.Sequential(_pointwise(count, width), _pointwise(width, width)) for count in channels
        )
        self.passes = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in finer)
        self.patterns = nn.ModuleList(Codebook(patterns, width) for _ in channels)
        condition = width + prototype_dim
        self.flows = nn.ModuleList(
            CouplingStack(CouplingBlock(count, condition) for _ in range(steps))
            for count, steps in zip(finer, flow_steps, strict=True)
        )
        self.gaussians = nn.ModuleList(_gaussian(prototype_dim, count) for count in finer)
        self.cross_scale = CrossScaleCoupling(finer, condition)

    def forward(self, maps: list[Features]) -> VQFlowOutput:
        """The Gaussian maps of a batch.

        Args:
            maps: of the four layers, (batch, channel, row, column) each.
        """
        *finer, deepest = maps
        prototype, commitment = self.prototypes(self.summary(deepest.mean(dim=(2, 3))))
        shared = self.deep(deepest)
        gaussian_maps = []
        log_det = torch.zeros_like(deepest[:, 0, 0, 0])
        for level, layer_map in enumerate(finer):
            resized = functional.interpolate(shared, size=layer_map.shape[-2:], mode="bilinear")
            passed = self.passes[level](resized)
            condition, committed = self._condition(level, layer_map, prototype, passed)
            flowed = self._flow(level, layer_map, condition, prototype)
            gaussian_maps.append(flowed.maps)
            log_det = log_det + flowed.log_det
            commitment = commitment + committed
        condition, committed = self._condition(len(finer), deepest, prototype)
        joint = self.cross_scale(gaussian_maps, condition)
        return VQFlowOutput(joint.maps, log_det + joint.log_det, commitment + committed)

    def _flow(
        self, level: int, layer_map: Features, condition: Features, prototype: PerImageVectors
    ) -> FlowOutput:
        """The flow of one level, in units of the prototype's Gaussian: (z − μ) / √(σ² + ε)."""
        flowed = self.flows[level](layer_map, condition)
        gaussian = self.gaussians[level](prototype)[:, :, None, None]
        mean, deviation = gaussian.chunk(2, dim=1)
        variance = deviation.square() + _MIN_VARIANCE
        normalised = (flowed.maps - mean) / variance.sqrt()
        if not self._log_sigma:
            return FlowOutput(normalised, flowed.log_det)
        positions = layer_map.shape[-2] * layer_map.shape[-1]
        log_scale = 0.5 * positions * variance.log().sum(dim=(1, 2, 3))
        return FlowOutput(normalised, flowed.log_det - log_scale)

    def _condition(
        self,
        level: int,
        layer_map: Features,
        prototype: PerImageVectors,
        passed: Features | float = 0.0,
    ) -> tuple[Tensor, Tensor]:
        """Build the condition of each position: the image's prototype, and the nearest pattern.

        The pattern is the one nearest to what position and prototype leave of the position's
        features.
        """
        rows, columns = layer_map.shape[-2:]
        of_image = prototype[:, :, None, None].expand(-1, -1, rows, columns)
        encoding = sinusoidal_position_encoding(self._position_dim, rows, columns, layer_map.device)
        of_position = encoding.expand(layer_map.shape[0], -1, -1, -1)
        base = torch.cat([of_position, of_image], dim=1)
        remainder = self.projections[level](layer_map) + passed - base
        vectors = rearrange(remainder, "b c h w -> (b h w) c")
        pattern, commitment = self.patterns[level](vectors)
        local = base + rearrange(pattern, "(b h w) c -> b c h w", h=rows, w=columns)
        return torch.cat([local, of_image], dim=1), commitment


def _pointwise(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, width, 1), nn.BatchNorm2d(width), nn.ReLU())


def _gaussian(length: int, channels: int) -> nn.Linear:
    """A layer from a prototype to mean and deviation, which begin near 0 and 1 for all."""
    linear = nn.Linear(length, 2 * channels)
    nn.init.normal_(linear.weight, std=0.01)
    with torch.no_grad():
        linear.bias[:channels] = 0.0
        linear.bias[channels:] = 1.0
    return linear
