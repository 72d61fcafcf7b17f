"""From one distance per patch to one per pixel: interpolate, then smooth."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from flawmap.support.tensors import Distances, Inside, Maps

_LEAST_WEIGHT = 1e-6
"""Of the patches around a pixel, so that padding far from any image divides by no zero."""


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

    def forward(
        self, distances: Distances, height: int, width: int, inside: Inside | None = None
    ) -> Maps:
        """One distance per pixel, (batch, height, width).

        Args:
            distances: (batch, row, column), >= 0.
            height: of the images, in pixels.
            width: of the images, in pixels.
            inside: 1 for each patch that counts and 0 for padding, (batch, row · column). Padding
                is 0 in the map, and counts in no average, so it darkens no edge of an image
                (normalised convolution, Knutsson and Westin 1993). None where all patches count.
        """
        if inside is None:
            return self._to_pixels(distances, height, width)
        weights = inside.reshape(distances.shape)
        is_image = functional.interpolate(weights[:, None], size=(height, width), mode="nearest")
        # Both steps are linear, and act on rows and columns apart: two small products do for both
        # what takes a convolution of the whole map a hundred times as many multiplications.
        down = self._resampling(distances.shape[1], height)
        across = self._resampling(distances.shape[2], width).T
        total = (down @ weights @ across).clamp_min(_LEAST_WEIGHT)
        return is_image[:, 0] * (down @ (distances * weights) @ across) / total

    def _to_pixels(self, distances: Distances, height: int, width: int) -> Maps:
        """Interpolated and smoothed; linear in the distances."""
        maps = rearrange(distances, "b h w -> b 1 h w")
        maps = functional.interpolate(maps, size=(height, width), mode="bilinear")
        maps = self._smooth(self._smooth(maps).transpose(2, 3)).transpose(2, 3)
        return rearrange(maps, "b 1 h w -> b h w")

    def _resampling(self, old: int, new: int) -> Tensor:
        """The matrix (new, old) that interpolates and smooths a row of numbers."""
        units = torch.eye(old, device=self.kernel.device)[None, None]
        interpolated = functional.interpolate(units, size=(old, new), mode="bilinear")
        return self._smooth(interpolated)[0, 0].T

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
