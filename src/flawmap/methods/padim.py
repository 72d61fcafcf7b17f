"""PaDiM (Defard et al. 2021): one Gaussian per position of the image.

What good parts look like is fitted for each position by itself, so parts must lie alike in all
images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import torch
from einops import rearrange
from torch import Tensor, nn

from flawmap.engine.batches import Batch, Batches
from flawmap.engine.run import best_device
from flawmap.errors import DatasetError, OptionError
from flawmap.features.anomaly_map import AnomalyMap
from flawmap.features.feature_extractor import FeatureExtractor
from flawmap.features.patches import concat_maps
from flawmap.memory.gaussians import (
    Gaussians,
    LeaveOneOut,
    add_vectors,
    bytes_needed,
    empty_moments,
    merge_shards,
)
from flawmap.methods.base import HeldOutScores, State, not_fitted
from flawmap.methods.head import Head, SmoothedHead
from flawmap.methods.memory_base import MemoryMethod
from flawmap.support.options import check_range
from flawmap.support.system import available_memory
from flawmap.support.tensors import Compared, Embedded, Features, Images, Indices


@dataclass(eq=False)
class PaDiM(MemoryMethod):
    """One Gaussian per position; the distance from its mean is Mahalanobis's.

    Args:
        channels: number of channels to keep, chosen at random, 1 or more; None for as many as were
            published: 550 of 1792, 100 of 448.
        ridge: added to each variance, more than 0. With fewer images than channels the covariance
            says nothing about most directions, and the ridge takes its place.
        sigma: standard deviation of the Gaussian over the anomaly map, in pixels, more than 0.

    Raises:
        OptionError: a value that cannot work.

    Example:
        >>> PaDiM(channels=100).options()["channels"]
        100
        >>> images = torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        >>> method = PaDiM(backbone="test_resnet", weights="random", channels=5)
        >>> scores = method.fit([Batch(images, [""] * 8)]).score(torch.zeros(1, 3, 64, 64))
        >>> tuple(scores.pixel.shape), bool(scores.image == scores.pixel.max())
        ((1, 64, 64), True)
    """

    images_per_update: ClassVar[int] = 32
    """Images whose vectors are added at once: one pass over the matrices serves all of them."""

    layers: tuple[int, ...] = (1, 2, 3)
    channels: int | None = field(default=None, metadata={"symbol": "d"})
    ridge: float = field(default=0.01, metadata={"symbol": "ε"})
    sigma: float = field(default=4.0, metadata={"symbol": "σ"})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "sigma", 0)
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

        Returns:
            `count`, `mean` and `scatter` as in `Moments`, `grid` with height and width of a map in
            positions, and the `channels` that are kept.

        Raises:
            OptionError: this machine has not the memory.
            DatasetError: no image could be used.
        """
        shard: State = {}
        self.encoder_runner.warm_up(batches)
        for maps, _ in self._maps(batches):
            shard = shard or self._empty_shard(*maps.shape[-3:])
            add_vectors(shard, rearrange(maps, "b c h w -> (h w) b c"))
        if not shard:
            raise DatasetError("no image could be used, so there is nothing to fit to")
        return shard

    def fit_shards(self, shards: list[State]) -> PaDiM:
        """Fit the Gaussians; shards differ from one shard by the rounding of float64.

        Args:
            shards: what `extract` returned for each.

        Returns:
            The method itself.

        Raises:
            OptionError: the ridge is too small to invert the covariances.
        """
        mean, whitening = merge_shards(shards, self.ridge, best_device())
        channels = shards[0]["channels"]
        count = sum(int(shard["count"]) for shard in shards)
        if count <= len(channels):
            self.notes = [
                f"{count} images for {len(channels)} channels: most directions were never seen to "
                f"vary, and the ridge of {self.ridge} stands in for their variance; more images or "
                "fewer channels make better Gaussians."
            ]
        mean = mean.reshape(*shards[0]["grid"].tolist(), -1).float()
        self.gaussians_ = Gaussians(mean, whitening, channels).to(best_device())
        return self

    def cross_fit_scores(self, batches: Batches, folder: Path | None = None) -> HeldOutScores:
        """Fit to good images, and score each as if it had not been there: in closed form.

        Where images come in groups, or there are fewer than three, by folds.

        Args:
            batches: the images, with their groups; they are gone through twice.
            folder: unused; nothing is trained.

        Returns:
            Scores in the order of the images that can be read.
        """
        if len(set(batches.groups)) > 1:
            return super().cross_fit_scores(batches, folder)
        shard = self.extract(batches)
        if shard["count"] < 3:
            del shard
            return super().cross_fit_scores(batches, folder)
        self.fit_shards([shard])
        return self._leave_one_out_scores(shard, batches)

    def encoder(self) -> nn.Module:
        """Images to the chosen channels of all layers."""
        return _PaDiMEncoder(self.feature_extractor, self._channel_indices())

    def head(self) -> Head:
        """The Gaussians and the anomaly map.

        Raises:
            NotFitted: there are no Gaussians yet.
        """
        return _PaDiMHead(self._gaussians(), AnomalyMap(self.sigma))

    def fitted_state(self) -> State:
        """The Gaussians: `mean`, `whitening`, and the `channels` that they are about."""
        return {name: tensor.cpu() for name, tensor in self._gaussians().state_dict().items()}

    def load_fitted_state(self, state: State) -> None:
        """Restore the Gaussians.

        Args:
            state: what `fitted_state` returned.
        """
        self.gaussians_ = Gaussians(**state).to(best_device())

    def _leave_one_out_scores(self, shard: State, batches: Batches) -> HeldOutScores:
        """Score each image by the others; the shard's scatter is overwritten."""
        left_out = LeaveOneOut(shard, self.ridge, best_device())
        pixel_map = AnomalyMap(self.sigma)
        peaks = []
        for maps, size in self._maps(batches):
            peaks.append(pixel_map(left_out.distances(maps), *size).amax(dim=(1, 2)))
        return HeldOutScores(torch.cat(peaks), torch.cat(peaks))

    def _maps(self, batches: Iterable[Batch]) -> Iterator[tuple[Features, torch.Size]]:
        """Chosen channels of `images_per_update` images or a few more, with the images' size."""
        waiting: list[Tensor] = []
        for batch in batches:
            waiting.append(self.encoder_runner.encode(batch.images).maps[0])
            size = batch.images.shape[-2:]
            if sum(map(len, waiting)) >= self.images_per_update:
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
        return {
            **empty_moments(height * width, channels),
            "grid": torch.tensor([height, width]),
            "channels": self._channel_indices(),
        }

    def _gaussians(self) -> Gaussians:
        if self.gaussians_ is None:
            raise not_fitted(self)
        return self.gaussians_


class _PaDiMEncoder(nn.Module):
    """Images to maps of the chosen channels of all layers.

    Args:
        backbone: images to the maps of all layers.
        channels: numbers of the channels to keep, from 0 among those of all layers in a row.
    """

    def __init__(self, backbone: FeatureExtractor, channels: Indices) -> None:
        super().__init__()
        self.backbone = backbone
        self.channels: Tensor
        self.register_buffer("channels", channels)

    def forward(self, images: Images) -> Embedded:
        """One map (batch, channel, row, column), all layers joined."""
        joined = concat_maps(self.backbone(images), "nearest")
        return Embedded((joined[:, self.channels],))


class _PaDiMHead(SmoothedHead):
    """Maps to scores by Gaussians; the image score is the largest value of the smoothed map.

    Args:
        gaussians: one at each position.
        pixel_map: distances per patch to distances per pixel.
    """

    def __init__(self, gaussians: Gaussians, pixel_map: AnomalyMap) -> None:
        super().__init__(pixel_map)
        self.gaussians = gaussians

    def compare(self, embedded: Embedded) -> Compared:
        """The Mahalanobis distance of each position."""
        return Compared((self.gaussians(embedded.maps[0]),))
