"""PaDiM (Defard et al. 2021): one Gaussian per position of the image.

What good parts look like is learned for each position by itself, so parts must lie alike in all
images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from flawmap.engine.batches import Batch, Batches
from flawmap.engine.run import best_device
from flawmap.errors import DatasetError, OptionError
from flawmap.features.anomaly_map import AnomalyMap
from flawmap.features.backbone import FeatureExtractor
from flawmap.features.patches import concat_maps
from flawmap.methods.base import Head, HeldOutScores, MemoryMethod, State, not_fitted
from flawmap.support.progress import track
from flawmap.support.system import available_memory
from flawmap.support.tensors import (
    Compared,
    Distances,
    Embedded,
    Features,
    Images,
    Indices,
    Maps,
    PerImage,
)

IMAGES_PER_UPDATE = 32
"""Images whose vectors are added at once: one pass over the matrices serves all of them."""

MAX_BLOCK_ELEMENTS = 2**22
"""Numbers worked on at once, 32 MB of them in float64."""


@dataclass(eq=False)
class PaDiM(MemoryMethod):
    """One Gaussian per position; the distance from its mean is Mahalanobis's.

    Args:
        channels: how many to keep, chosen at random; None takes as many as were published: 550 of
            1792, 100 of 448.
        ridge: added to each variance, more than 0. With fewer images than channels the covariance
            says nothing about most directions, and the ridge takes its place.
        sigma: of the Gaussian over the anomaly map, in pixels.

    Example:
        >>> PaDiM(channels=100).options()["channels"]
        100
    """

    layers: tuple[int, ...] = (1, 2, 3)
    channels: int | None = None
    ridge: float = 0.01
    sigma: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.channels is not None and self.channels < 1:
            raise OptionError(
                f"{self.channels} channels are too few; use 1 or more, or None for as many as "
                "published"
            )
        if not self.ridge > 0:
            raise OptionError(
                f"a ridge of {self.ridge} leaves covariances that cannot be inverted; use more "
                "than 0"
            )
        self.gaussians_: Gaussians | None = None

    def extract(self, batches: Iterable[Batch]) -> State:
        """Count, mean and scatter about the mean at each position; no image is kept.

        Args:
            batches: the shard's images, all of one size.

        Raises:
            OptionError: this machine has not the memory.
            DatasetError: no image could be used.
        """
        shard: State = {}
        self.warm_up(batches)
        for maps, _ in self._maps(batches):
            shard = shard or self._empty_shard(*maps.shape[-3:])
            _add(shard, rearrange(maps, "b c h w -> (h w) b c"))
        if not shard:
            raise DatasetError("no image could be used, so there is nothing to learn from")
        return shard

    def fit_shards(self, shards: list[State]) -> PaDiM:
        """Learn the Gaussians; shards differ from one shard by the rounding of float64.

        Args:
            shards: what `extract` gave for each.

        Returns:
            The method itself.

        Raises:
            OptionError: the ridge is too small to invert the covariances.
        """
        counts = [int(shard["count"]) for shard in shards]
        count = sum(counts)
        weighted = [shard["mean"] * (int(shard["count"]) / count) for shard in shards]
        mean = torch.stack(weighted).sum(dim=0)
        whitening = torch.empty(shards[0]["scatter"].shape)
        blocks = _blocks(whitening)
        for block in track(blocks, "learning positions", len(blocks)):
            scatter = torch.stack([shard["scatter"][block] for shard in shards]).sum(dim=0)
            # Chan et al. 1979: the scatter of all is that within the shards and of their means.
            between = [
                math.sqrt(size) * (shard["mean"][block] - mean[block])
                for size, shard in zip(counts, shards, strict=True)
            ]
            scatter.baddbmm_(torch.stack(between, dim=2), torch.stack(between, dim=1))
            whitening[block] = self._whiten(scatter / max(1, count - 1))
        channels = shards[0]["channels"]
        if count <= len(channels):
            self.notes = [
                f"{count} images for {len(channels)} channels: most directions were never seen to "
                f"vary, and the ridge of {self.ridge} stands in for their variance; more images or "
                "fewer channels make better Gaussians."
            ]
        mean = mean.reshape(*shards[0]["grid"].tolist(), -1).float()
        self.gaussians_ = Gaussians(mean, whitening, channels).to(best_device())
        return self

    def cross_fit_scores(self, batches: Batches) -> HeldOutScores:
        """Learn, and score each image as if it had not been there: in closed form.

        Where images come in groups, or there are fewer than three, by folds.

        Args:
            batches: the images; they are gone through twice.
        """
        if len(set(batches.groups)) > 1:
            return super().cross_fit_scores(batches)
        shard = self.extract(batches)
        if shard["count"] < 3:
            del shard
            return super().cross_fit_scores(batches)
        self.fit_shards([shard])
        return self._leave_one_out_scores(shard, batches)

    def encoder(self) -> PaDiMEncoder:
        """Images to the chosen channels of all layers."""
        return PaDiMEncoder(self.feature_extractor, self._channel_indices())

    def head(self) -> PaDiMHead:
        """The Gaussians and the anomaly map.

        Raises:
            NotFitted: there are no Gaussians yet.
        """
        return PaDiMHead(self._gaussians(), AnomalyMap(self.sigma))

    def fitted_state(self) -> State:
        """The Gaussians: `mean`, `whitening`, and the `channels` that they are about."""
        return {name: tensor.cpu() for name, tensor in self._gaussians().state_dict().items()}

    def load_fitted_state(self, state: State) -> None:
        """Restore the Gaussians.

        Args:
            state: what `fitted_state` gave.
        """
        self.gaussians_ = Gaussians(**state).to(best_device())

    def _leave_one_out_scores(self, shard: State, batches: Batches) -> HeldOutScores:
        """Score each image by the others; the shard's scatter is overwritten.

        Without image i, d = xᵢ − μ away from the mean of n, the mean moves by d/(n−1) and the
        scatter loses n/(n−1)·ddᵀ. So its covariance is C − β·ddᵀ, with C = scatter/(n−2) + ridge·I
        and β = n/((n−1)(n−2)), and by Sherman and Morrison its squared distance is
        (n/(n−1))²·q/(1−βq), with q = dᵀC⁻¹d. All in float64, for βq is close to 1 where images are
        fewer than channels.
        """
        n, mean, whitening = int(shard["count"]), shard["mean"], shard["scatter"]
        blocks = _blocks(whitening)
        for block in track(blocks, "learning to leave out", len(blocks)):
            whitening[block] = self._whiten(whitening[block] / (n - 2))
        pixel_map = AnomalyMap(self.sigma)
        peaks = []
        for maps, size in self._maps(batches):
            vectors = rearrange(maps, "b c h w -> (h w) b c")
            squared = []
            for block in blocks:
                deviations = vectors[block] - mean[block, None]
                squared.append((deviations @ whitening[block].mT).square().sum(dim=2))
            q = torch.cat(squared)
            rest = 1 - n / ((n - 1) * (n - 2)) * q
            rest = rest.clamp(min=torch.finfo(q.dtype).eps)
            distances = n / (n - 1) * (q / rest).sqrt().float()
            distances = rearrange(distances, "(h w) b -> b h w", h=maps.shape[-2])
            peaks.append(pixel_map(distances, *size).amax(dim=(1, 2)))
        return HeldOutScores(torch.cat(peaks), torch.cat(peaks))

    def _maps(self, batches: Iterable[Batch]) -> Iterator[tuple[Features, torch.Size]]:
        """Chosen channels of `IMAGES_PER_UPDATE` images or a few more, with the images' size."""
        waiting: list[Tensor] = []
        for batch in batches:
            waiting.append(self.encode(batch.images).maps[0])
            size = batch.images.shape[-2:]
            if sum(map(len, waiting)) >= IMAGES_PER_UPDATE:
                yield torch.cat(waiting), size
                waiting = []
        if waiting:
            yield torch.cat(waiting), size

    def _channel_indices(self) -> Indices:
        if self.gaussians_ is not None:
            return self.gaussians_.channels
        available = sum(self.feature_extractor.channels)
        count = self.channels or (550 if available > 1000 else 100)
        generator = torch.Generator().manual_seed(self.seed)
        return torch.randperm(available, generator=generator)[:count].sort().values

    def _empty_shard(self, channels: int, height: int, width: int) -> State:
        """A shard of no images, if there is the memory for what will be added."""
        needed = bytes_needed(height * width, channels)
        available = available_memory()
        if available is not None and needed > available:
            fewer = max(1, math.isqrt(available // bytes_needed(height * width, 1)))
            raise OptionError(
                f"PaDiM with {channels} channels at {height}×{width} positions takes "
                f"{needed / 1e9:.2f} GB of memory and {available / 1e9:.2f} GB are free; use "
                f"channels={fewer} or fewer, smaller images, or layers=(2, 3)"
            )
        positions = height * width
        return {
            "count": torch.tensor(0),
            "mean": torch.zeros(positions, channels, dtype=torch.float64),
            "scatter": torch.zeros(positions, channels, channels, dtype=torch.float64),
            "grid": torch.tensor([height, width]),
            "channels": self._channel_indices(),
        }

    def _whiten(self, covariance: Tensor) -> Tensor:
        """Inverse Cholesky factor of each covariance plus ridge, in float64; L with LLᵀ = Σ.

        The inverse and not the factor: the distance is then ‖L⁻¹(x − μ)‖, a matrix product that
        every runtime has.
        """
        covariance = covariance.to(best_device())
        identity = torch.eye(covariance.shape[-1]).to(covariance)
        factor, failed = torch.linalg.cholesky_ex(covariance + self.ridge * identity)
        if failed.any():
            raise OptionError(
                f"a ridge of {self.ridge} is too small to invert the covariances; use 0.01"
            )
        whitening: Tensor = torch.linalg.solve_triangular(factor, identity, upper=False)
        return whitening.cpu()

    def _gaussians(self) -> Gaussians:
        if self.gaussians_ is None:
            raise not_fitted(self)
        return self.gaussians_


class Gaussians(nn.Module):
    """A Gaussian at each position.

    Args:
        mean: (row, column, channel).
        whitening: (position, channel, channel), L⁻¹ where the covariance is LLᵀ; row by row.
        channels: the backbone's channels that they are about.
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
        """The Mahalanobis distance of each position.

        Args:
            maps: the channels that the Gaussians are about, (batch, channel, row, column).
        """
        # One product for the whole batch, so memory grows with the maps; on rows that lie apart it
        # would take 20 times as long.
        vectors = rearrange(maps, "b c h w -> (h w) b c").contiguous()
        white = (vectors - rearrange(self.mean, "h w c -> (h w) 1 c")) @ self.whitening.mT
        rows = self.mean.shape[0]
        distances: Distances = rearrange(white.norm(dim=2), "(h w) b -> b h w", h=rows)
        return distances


class PaDiMEncoder(nn.Module):
    """Images to maps of the chosen channels of all layers.

    Args:
        backbone: gives the maps.
        channels: numbers of those to keep, among all layers' channels in a row.
    """

    def __init__(self, backbone: FeatureExtractor, channels: Indices) -> None:
        super().__init__()
        self.backbone = backbone
        self.channels: Tensor
        self.register_buffer("channels", channels)

    def forward(self, images: Images) -> Embedded:
        """One map (batch, channel, row, column), all layers joined.

        Args:
            images: (batch, 3, height, width), preprocessed.
        """
        joined = concat_maps(self.backbone(images), "nearest")
        return Embedded((joined[:, self.channels],))


class PaDiMHead(Head):
    """Maps to scores by Gaussians; the image score is the largest value of the smoothed map.

    Args:
        gaussians: one at each position.
        pixel_map: distances per patch to distances per pixel.
    """

    def __init__(self, gaussians: Gaussians, pixel_map: AnomalyMap) -> None:
        super().__init__()
        self.gaussians = gaussians
        self.pixel_map = pixel_map

    def compare(self, embedded: Embedded) -> Compared:
        """The Mahalanobis distance of each position.

        Args:
            embedded: one map (batch, channel, row, column).
        """
        return Compared((self.gaussians(embedded.maps[0]),))

    def anomaly_map(self, embedded: Embedded, compared: Compared, height: int, width: int) -> Maps:
        """The distances in the image's size, smoothed.

        Args:
            embedded: unused.
            compared: the distance of each position.
            height: of the images, in pixels.
            width: of the images, in pixels.
        """
        del embedded
        maps: Maps = self.pixel_map(compared.distances[0], height, width)
        return maps

    def image_score(self, embedded: Embedded, compared: Compared, maps: Maps) -> PerImage:
        """The largest value of each map.

        Args:
            embedded: unused.
            compared: unused.
            maps: the smoothed maps.
        """
        del embedded, compared
        return maps.amax(dim=(1, 2))


def bytes_needed(positions: int, channels: int) -> int:
    """Bytes that learning takes: per position a scatter matrix in float64, a whitening in float32.

    Args:
        positions: of the map.
        channels: that are kept.

    Example:
        >>> bytes_needed(56 * 56, 550)
        11383680000
    """
    return positions * channels**2 * (8 + 4)


def _add(shard: State, vectors: Tensor) -> None:
    """Add vectors (position, image, channel) to a shard.

    By Chan et al. 1979, whose sums stay small beside what they are sums of.
    """
    before = int(shard["count"])
    new = vectors.shape[1]
    for block in _blocks(shard["scatter"]):
        added = vectors[block].double()
        mean = added.mean(dim=1, keepdim=True)
        shift = mean - shard["mean"][block, None]
        # The step from mean to mean is one row more, so that one product adds it all.
        step = shift * math.sqrt(before * new / (before + new))
        rows = torch.cat([added - mean, step], dim=1)
        shard["scatter"][block].baddbmm_(rows.mT, rows)
        shard["mean"][block] += shift[:, 0] * (new / (before + new))
    shard["count"] += new


def _blocks(matrices: Tensor) -> list[slice]:
    """Positions in blocks of about `MAX_BLOCK_ELEMENTS` numbers."""
    step = max(1, MAX_BLOCK_ELEMENTS // matrices[0].numel())
    return [slice(start, start + step) for start in range(0, len(matrices), step)]
