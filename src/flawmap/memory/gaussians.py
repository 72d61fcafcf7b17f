"""One Gaussian per position of a map, from moments that add up over shards of images.

Count, mean and scatter about the mean are added batch by batch and merged shard by shard by the
rules of Chan, Golub and LeVeque 1979, whose sums stay small beside what they are sums of. All of it
is in float64; only the finished Gaussians are float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from flawmap.errors import OptionError
from flawmap.support.progress import track
from flawmap.support.tensors import Distances, Features, Indices

Moments = dict[str, Tensor]
"""`count` of images, `mean` (position, channel) and `scatter` (position, channel, channel)."""

_ELEMENTS_PER_BLOCK = 2**22
"""Numbers worked on at once, 32 MB of them in float64."""

_Vectors = Float[Tensor, "position image channel"]
_Means = Float[Tensor, "position channel"]
_Matrices = Float[Tensor, "position channel _channel"]
_SquaredDistances = Float[Tensor, "position image"]


class Gaussians(nn.Module):
    """A Gaussian at each position.

    Args:
        mean: (row, column, channel).
        whitening: (position, channel, channel), row by row: L⁻¹ where the covariance is LLᵀ.
        channels: the backbone's channels that they are about, numbered from 0.

    Example:
        >>> mean, whitening = torch.zeros(1, 1, 2), torch.eye(2)[None]
        >>> gaussians = Gaussians(mean, whitening, torch.tensor([0, 1]))
        >>> gaussians(torch.tensor([3.0, 4.0]).reshape(1, 2, 1, 1))
        tensor([[[5.]]])
    """

    def __init__(self, mean: Tensor, whitening: Tensor, channels: Indices) -> None:
        super().__init__()
        self.mean: Tensor
        self.whitening: Tensor
        self.channels: Tensor
        self.register_buffer("mean", mean)
        self.register_buffer("whitening", whitening)
        self.register_buffer("channels", channels)

    def forward(self, maps: Features) -> Distances:
        """The Mahalanobis distance of each position, (batch, row, column).

        Args:
            maps: the channels that the Gaussians are about, (batch, channel, row, column).
        """
        # One product for the whole batch, so memory grows with the maps; on rows that
        # are not contiguous it would take 20 times as long.
        vectors = rearrange(maps, "b c h w -> (h w) b c").contiguous()
        white = (vectors - rearrange(self.mean, "h w c -> (h w) 1 c")) @ self.whitening.mT
        rows = self.mean.shape[0]
        distances: Distances = rearrange(white.norm(dim=2), "(h w) b -> b h w", h=rows)
        return distances


def bytes_needed(positions: int, channels: int) -> int:
    """Bytes that fitting takes: a scatter in float64 and a whitening in float32 per position.

    Args:
        positions: number of positions of a map.
        channels: number of channels that are kept.

    Example:
        >>> bytes_needed(56 * 56, 550)
        11383680000
    """
    return positions * channels**2 * (8 + 4)


def empty_moments(positions: int, channels: int) -> Moments:
    """Moments of no images.

    Args:
        positions: number of positions of a map.
        channels: number of channels that are kept.
    """
    return {
        "count": torch.tensor(0),
        "mean": torch.zeros(positions, channels, dtype=torch.float64),
        "scatter": torch.zeros(positions, channels, channels, dtype=torch.float64),
    }


def add_vectors(
    moments: Moments, vectors: _Vectors, *, elements_per_block: int = _ELEMENTS_PER_BLOCK
) -> None:
    """Add the vectors of some images to moments, in place.

    Args:
        moments: the moments so far.
        vectors: (position, image, channel), of any type.
        elements_per_block: numbers worked on at once; only speed and memory depend on it.

    Example:
        >>> moments = empty_moments(positions=1, channels=1)
        >>> add_vectors(moments, torch.tensor([[[1.0], [3.0]]]))
        >>> float(moments["mean"]), float(moments["scatter"])
        (2.0, 2.0)
    """
    before = int(moments["count"])
    new = vectors.shape[1]
    for block in _blocks(moments["scatter"], elements_per_block):
        added = vectors[block].double()
        mean = added.mean(dim=1, keepdim=True)
        shift = mean - moments["mean"][block, None]
        # The step from mean to mean is one row more, so that one product adds it all.
        step = shift * math.sqrt(before * new / (before + new))
        rows = torch.cat([added - mean, step], dim=1)
        moments["scatter"][block].baddbmm_(rows.mT, rows)
        moments["mean"][block] += shift[:, 0] * (new / (before + new))
    moments["count"] += new


def merge_shards(
    shards: Sequence[Moments], ridge: float, device: torch.device
) -> tuple[_Means, _Matrices]:
    """Means and whitenings of all images of all shards.

    Args:
        shards: moments of each shard; they stay as they are.
        ridge: added to each variance, more than 0.
        device: where matrices are inverted.

    Returns:
        The mean (position, channel) in float64, and the whitening (position, channel, channel) in
        float32, both on the CPU.

    Raises:
        OptionError: the ridge is too small to invert the covariances.
    """
    counts = [int(shard["count"]) for shard in shards]
    count = sum(counts)
    weighted = [shard["mean"] * (int(shard["count"]) / count) for shard in shards]
    mean = torch.stack(weighted).sum(dim=0)
    whitening = torch.empty(shards[0]["scatter"].shape)
    blocks = _blocks(whitening, _ELEMENTS_PER_BLOCK)
    for block in track(blocks, "fitting positions", len(blocks)):
        scatter = torch.stack([shard["scatter"][block] for shard in shards]).sum(dim=0)
        # The scatter of all is that within the shards and that of their means.
        between = [
            math.sqrt(size) * (shard["mean"][block] - mean[block])
            for size, shard in zip(counts, shards, strict=True)
        ]
        scatter.baddbmm_(torch.stack(between, dim=2), torch.stack(between, dim=1))
        covariance = (scatter / max(1, count - 1)).to(device)
        whitening[block] = _whiten(covariance, ridge).cpu()
    return mean, whitening


def _whiten(covariance: _Matrices, ridge: float) -> _Matrices:
    """The inverse Cholesky factor of each covariance plus ridge: L⁻¹ with LLᵀ = Σ + ridge·I.

    The inverse and not the factor: the distance is then ‖L⁻¹(x − μ)‖, a matrix product that every
    runtime has.

    Args:
        covariance: (position, channel, channel), in float64.
        ridge: added to each variance, more than 0.

    Raises:
        OptionError: the ridge is too small to invert the covariances.

    Example:
        >>> _whiten(torch.full((1, 1, 1), 3.0), ridge=1.0)
        tensor([[[0.5000]]])
    """
    identity = torch.eye(covariance.shape[-1]).to(covariance)
    factor, failed = torch.linalg.cholesky_ex(covariance + ridge * identity)
    if failed.any():
        raise OptionError(f"a ridge of {ridge} is too small to invert the covariances; use 0.01")
    whitening: Tensor = torch.linalg.solve_triangular(factor, identity, upper=False)
    return whitening


class LeaveOneOut:
    """Distances of images, each from the Gaussians of the others, in closed form.

    Without image i, d = xᵢ − μ away from the mean of n, the mean moves by d/(n−1) and the scatter
    loses n/(n−1)·ddᵀ. So its covariance is C − β·ddᵀ, with C = scatter/(n−2) + ridge·I and
    β = n/((n−1)(n−2)), and by Sherman and Morrison 1950 its squared distance is
    (n/(n−1))²·q/(1−βq), with q = dᵀC⁻¹d. All in float64, for βq is close to 1 where images are
    fewer than channels.

    Args:
        moments: of all images, 3 or more; their scatter is overwritten.
        ridge: added to each variance, more than 0.
        device: where matrices are inverted.
    """

    def __init__(self, moments: Moments, ridge: float, device: torch.device) -> None:
        self._count = int(moments["count"])
        self._mean = moments["mean"]
        self._whitening = moments["scatter"]
        self._blocks = _blocks(self._whitening, _ELEMENTS_PER_BLOCK)
        for block in track(self._blocks, "preparing leave-out", len(self._blocks)):
            covariance = (self._whitening[block] / (self._count - 2)).to(device)
            self._whitening[block] = _whiten(covariance, ridge).cpu()

    def distances(self, maps: Features) -> Distances:
        """The distance of each position of images that the moments hold, (batch, row, column).

        Args:
            maps: the channels that the moments are about, (batch, channel, row, column).
        """
        n = self._count
        q = self._squared_distances(rearrange(maps, "b c h w -> (h w) b c"))
        rest = 1 - n / ((n - 1) * (n - 2)) * q
        rest = rest.clamp(min=torch.finfo(q.dtype).eps)
        distances = n / (n - 1) * (q / rest).sqrt().float()
        by_image: Distances = rearrange(distances, "(h w) b -> b h w", h=maps.shape[-2])
        return by_image

    def _squared_distances(self, vectors: _Vectors) -> _SquaredDistances:
        squared = []
        for block in self._blocks:
            deviations = vectors[block] - self._mean[block, None]
            squared.append((deviations @ self._whitening[block].mT).square().sum(dim=2))
        return torch.cat(squared)


def _blocks(matrices: Tensor, elements_per_block: int) -> list[slice]:
    """Positions in blocks of about so many numbers."""
    step = max(1, elements_per_block // matrices[0].numel())
    return [slice(start, start + step) for start in range(0, len(matrices), step)]
