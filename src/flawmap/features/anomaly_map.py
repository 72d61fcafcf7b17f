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
        sigma: of the Gaussian in pixels, >= 0; 0 for none. Its kernel ends at 4 σ, and the border
            is mirrored, edge pixels included, as SciPy's `gaussian_filter` does.

    Example:
        >>> AnomalyMap(sigma=2.0)(torch.ones(1, 7, 7), 56, 56).shape
        torch.Size([1, 56, 56])
    """

    def __init__(self, sigma: float = 4.0) -> None:
        super().__init__()
        self.kernel: Tensor
        self.register_buffer("kernel", _gaussian_kernel(sigma), persistent=False)

    def forward(self, distances: Distances, height: int, width: int) -> Maps:
        """One distance per pixel, (batch, height, width).

        Args:
            distances: (batch, row, column), >= 0.
            height: of the images, in pixels.
            width: of the images, in pixels.
        """
        maps = rearrange(distances, "b h w -> b 1 h w")
        maps = functional.interpolate(maps, size=(height, width), mode="bilinear")
        maps = self._smooth(self._smooth(maps).transpose(2, 3)).transpose(2, 3)
        return rearrange(maps, "b 1 h w -> b h w")

    def _smooth(self, maps: Tensor) -> Tensor:
        radius = len(self.kernel) // 2
        if radius == 0:
            return maps
        left = maps[..., :radius].flip(-1)
        right = maps[..., maps.shape[-1] - radius :].flip(-1)
        padded = torch.cat([left, maps, right], dim=-1)
        return functional.conv2d(padded, self.kernel[None, None, None])


def _gaussian_kernel(sigma: float) -> Tensor:
    """A Gaussian sampled at each pixel out to 4 σ, with a sum of 1.

    Args:
        sigma: standard deviation in pixels, >= 0.

    Example:
        >>> kernel = _gaussian_kernel(4.0)
        >>> len(kernel), round(float(kernel[16]), 7)
        (33, 0.0997391)
    """
    radius = int(4 * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (offsets / max(sigma, 1e-9)) ** 2)
    return (weights / weights.sum()).float()
