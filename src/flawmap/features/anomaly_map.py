"""From one distance per patch to one per pixel: interpolate, then smooth."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from flawmap.support.tensors import Distances, Maps


class AnomalyMap(nn.Module):
    """Distances per patch to a map per pixel: bilinear to the image's size, then a Gaussian.

    Args:
        sigma: of the Gaussian in pixels; 0 for none. Its kernel ends at 4 σ and the border is
            mirrored, edge pixels included, as SciPy's `gaussian_filter` does.
    """

    def __init__(self, sigma: float = 4.0) -> None:
        super().__init__()
        self.kernel: Tensor
        self.register_buffer("kernel", gaussian_kernel(sigma), persistent=False)

    def forward(self, distances: Distances, height: int, width: int) -> Maps:
        """Bring distances (batch, row, column) to (batch, height, width)."""
        maps = rearrange(distances, "b h w -> b 1 h w")
        maps = functional.interpolate(maps, size=(height, width), mode="bilinear")
        maps = self._smooth(self._smooth(maps).transpose(2, 3)).transpose(2, 3)
        return rearrange(maps, "b 1 h w -> b h w")

    def _smooth(self, maps: Tensor) -> Tensor:
        radius = len(self.kernel) // 2
        if radius:
            left, right = maps[..., :radius].flip(-1), maps[..., maps.shape[-1] - radius :].flip(-1)
            maps = functional.conv2d(
                torch.cat([left, maps, right], dim=-1), self.kernel[None, None, None]
            )
        return maps


def gaussian_kernel(sigma: float) -> Tensor:
    """Sample a Gaussian of `sigma` pixels out to 4 σ, to a sum of 1.

    Σ = 4 makes 33 taps, the middle one 0.0997391.
    """
    radius = int(4 * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (offsets / max(sigma, 1e-9)) ** 2)
    return (weights / weights.sum()).float()
