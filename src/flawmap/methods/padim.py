"""PaDiM (Defard et al. 2021): one Gaussian per position of the picture.

What a good part looks like is learned for each position by itself, so parts must lie alike in all pictures.
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
from flawmap.features.backbone import Backbone
from flawmap.features.patches import concat_maps
from flawmap.methods.base import HeldOutScores, MemoryMethod, State, not_fitted
from flawmap.support.progress import track
from flawmap.support.system import available_memory
from flawmap.support.tensors import Distances, Features, Images, Scores

IMAGES_PER_UPDATE = 32
"""Pictures whose vectors are taken in at once: the matrices are gone through once for all of them."""

MAX_BLOCK_ELEMENTS = 2**22
"""Numbers worked on at once, 32 MB of them in float64."""


@dataclass(eq=False)
class PaDiM(MemoryMethod):
    """One Gaussian per position; a position is as odd as it is far from the mean, in standard deviations (Mahalanobis).

    Args:
        channels: how many to keep, chosen at random; None takes as many as were published: 550 of 1792, 100 of 448.
        ridge: added to each variance. With fewer pictures than channels the covariance says nothing about most
            directions and this takes its place; more than 0.
        sigma: of the Gaussian over the map, in pixels.
    """

    layers: tuple[int, ...] = (1, 2, 3)
    channels: int | None = None
    ridge: float = 0.01
    sigma: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.channels is not None and self.channels < 1:
            raise OptionError(f"{self.channels} channels are too few; use 1 or more, or None for as many as published")
        if not self.ridge > 0:
            raise OptionError(f"a ridge of {self.ridge} leaves covariances that cannot be inverted; use more than 0")
        self.gaussians_: Gaussians | None = None

    def extract(self, batches: Iterable[Batch]) -> State:
        """Take count, mean and scatter about the mean at each position; pictures pass by and are not kept.

        Raises:
            OptionError: this machine has not the memory.
            DatasetError: no picture could be used.
        """
        part: State = {}
        self.warm_up(batches)
        for maps, _ in self._maps(batches):
            part = part or self._nothing(*maps.shape[-3:])
            _add(part, rearrange(maps, "b c h w -> (h w) b c"))
        if not part:
            raise DatasetError("no picture could be used, so there is nothing to learn from")
        return part

    def fit_shards(self, shards: list[State]) -> PaDiM:
        """Make the Gaussians; what shares add up to differs from the whole by the rounding of float64, not bit for bit.

        Raises:
            OptionError: the ridge is too small to invert the covariances.
        """
        count = sum(int(part["count"]) for part in shards)
        mean = torch.stack([part["mean"] * (int(part["count"]) / count) for part in shards]).sum(dim=0)
        whitening = torch.empty(shards[0]["scatter"].shape)
        for block in track(_blocks(whitening), "learning positions", len(_blocks(whitening))):
            scatter = torch.stack([part["scatter"][block] for part in shards]).sum(dim=0)
            # Chan et al. 1979: scatter of all = scatter within the shares + scatter of their means.
            between = [math.sqrt(int(part["count"])) * (part["mean"][block] - mean[block]) for part in shards]
            scatter.baddbmm_(torch.stack(between, dim=2), torch.stack(between, dim=1))
            whitening[block] = self._whiten(scatter / max(1, count - 1))
        if count <= (channels := len(shards[0]["channels"])):
            self.notes = [
                f"{count} pictures for {channels} channels: most directions were never seen to vary, and the ridge of "
                f"{self.ridge} stands in for their variance; more pictures or fewer channels make better Gaussians."
            ]
        mean = mean.reshape(*shards[0]["grid"].tolist(), -1).float()
        self.gaussians_ = Gaussians(mean, whitening, shards[0]["channels"]).to(best_device())
        return self

    def cross_fit_scores(self, batches: Batches) -> HeldOutScores:
        """Learn, and score each picture as if it had not been there: in closed form, from a second round.

        Where pictures come in groups, or there are fewer than three, by folds.
        """
        if len(set(batches.groups)) > 1:
            return super().cross_fit_scores(batches)
        part = self.extract(batches)
        if part["count"] < 3:
            del part
            return super().cross_fit_scores(batches)
        self.fit_shards([part])
        return self._hold_out(part, batches)

    def encoder(self) -> PaDiMEncoder:
        """Give network and choice of channels as one module."""
        return PaDiMEncoder(self.feature_extractor, self._chosen())

    def head(self) -> PaDiMHead:
        """Give Gaussians and map as one module."""
        return PaDiMHead(self._gaussians(), AnomalyMap(self.sigma))

    def fitted_state(self) -> State:
        """Give the Gaussians: `mean`, `whitening` and the `channels` they are about."""
        return {name: tensor.cpu() for name, tensor in self._gaussians().state_dict().items()}

    def load_fitted_state(self, learned: State) -> None:
        """Take the Gaussians back."""
        self.gaussians_ = Gaussians(**learned).to(best_device())

    def _hold_out(self, part: State, batches: Batches) -> HeldOutScores:
        """Judge each picture by the others; the part's scatter is used up.

        Without picture i, d = xᵢ − μ away from the mean of n, the mean moves by d/(n−1) and the scatter loses
        n/(n−1)·ddᵀ. So its covariance is C − β·ddᵀ, with C = scatter/(n−2) + ridge·I and β = n/((n−1)(n−2)), and by
        Sherman and Morrison its squared distance (n/(n−1))²·q/(1−βq), with q = dᵀC⁻¹d. All in float64, for βq is
        close to 1 where pictures are fewer than channels.
        """
        n, mean, whitening = int(part["count"]), part["mean"], part["scatter"]
        for block in track(_blocks(whitening), "learning to leave out", len(_blocks(whitening))):
            whitening[block] = self._whiten(whitening[block] / (n - 2))
        pixel_map, peaks = AnomalyMap(self.sigma), []
        for maps, size in self._maps(batches):
            vectors = rearrange(maps, "b c h w -> (h w) b c")
            deviations = ((block, vectors[block] - mean[block, None]) for block in _blocks(whitening))
            q = torch.cat([(one @ whitening[block].mT).square().sum(dim=2) for block, one in deviations])
            rest = 1 - n / ((n - 1) * (n - 2)) * q
            distances = n / (n - 1) * (q / rest.clamp(min=torch.finfo(q.dtype).eps)).sqrt().float()
            distances = rearrange(distances, "(h w) b -> b h w", h=maps.shape[-2])
            peaks.append(pixel_map(distances, *size).amax(dim=(1, 2)))
        return HeldOutScores(torch.cat(peaks), torch.cat(peaks))

    def _maps(self, batches: Iterable[Batch]) -> Iterator[tuple[Features, torch.Size]]:
        """Give the chosen channels of pictures, `TOGETHER` or a few more at a time, and the pictures' size."""
        waiting: list[Tensor] = []
        for batch in batches:
            waiting.append(self.encode(batch.images)[0])
            size = batch.images.shape[-2:]
            if sum(map(len, waiting)) >= IMAGES_PER_UPDATE:
                yield torch.cat(waiting), size
                waiting = []
        if waiting:
            yield torch.cat(waiting), size

    def _chosen(self) -> Tensor:
        if self.gaussians_ is not None:
            return self.gaussians_.channels
        there = sum(self.feature_extractor.channels)
        wanted = self.channels or (550 if there > 1000 else 100)
        return torch.randperm(there, generator=torch.Generator().manual_seed(self.seed))[:wanted].sort().values

    def _nothing(self, channels: int, height: int, width: int) -> State:
        """Give what is known before the first picture, if there is the memory for what will be."""
        need, free = bytes_needed(height * width, channels), available_memory()
        if free is not None and need > free:
            fewer = max(1, math.isqrt(free // bytes_needed(height * width, 1)))
            raise OptionError(
                f"PaDiM with {channels} channels at {height}×{width} positions takes {need / 1e9:.2f} GB of memory and "
                f"{free / 1e9:.2f} GB are free; use channels={fewer} or fewer, smaller pictures, or layers=(2, 3)"
            )
        return {
            "count": torch.tensor(0),
            "mean": torch.zeros(height * width, channels, dtype=torch.float64),
            "scatter": torch.zeros(height * width, channels, channels, dtype=torch.float64),
            "grid": torch.tensor([height, width]),
            "channels": self._chosen(),
        }

    def _whiten(self, covariance: Tensor) -> Tensor:
        """Give the inverse of the Cholesky factor of each covariance plus ridge, in float64; L with LLᵀ = Σ.

        The inverse and not the factor: the distance is then ‖L⁻¹(x − μ)‖, a matrix product that every runtime has.
        """
        covariance = covariance.to(best_device())
        identity = torch.eye(covariance.shape[-1]).to(covariance)
        factor, failed = torch.linalg.cholesky_ex(covariance + self.ridge * identity)
        if failed.any():
            raise OptionError(f"a ridge of {self.ridge} is too small to invert the covariances; use 0.01")
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
        whitening: (position, channel, channel), L⁻¹ where the covariance is LLᵀ; positions row by row.
        channels: which of the network's channels they are about.
    """

    def __init__(self, mean: Tensor, whitening: Tensor, channels: Tensor) -> None:
        super().__init__()
        self.mean: Tensor
        self.whitening: Tensor
        self.channels: Tensor
        self.register_buffer("mean", mean)
        self.register_buffer("whitening", whitening)
        self.register_buffer("channels", channels)

    def forward(self, maps: Features) -> Distances:
        """Give the Mahalanobis distance of each position; the maps have the channels that these are about."""
        # One product for the whole batch, so memory goes with the maps; on rows that lie apart it would take 20 times
        # as long.
        vectors = rearrange(maps, "b c h w -> (h w) b c").contiguous()
        white = (vectors - rearrange(self.mean, "h w c -> (h w) 1 c")) @ self.whitening.mT
        distances: Distances = rearrange(white.norm(dim=2), "(h w) b -> b h w", h=self.mean.shape[0])
        return distances


class PaDiMEncoder(nn.Module):
    """Pictures to maps of the chosen channels of all layers."""

    def __init__(self, backbone: Backbone, channels: Tensor) -> None:
        super().__init__()
        self.backbone = backbone
        self.channels: Tensor
        self.register_buffer("channels", channels)

    def forward(self, images: Images) -> list[Tensor]:
        """Give the joined maps."""
        return [concat_maps(self.backbone(images), "nearest")[:, self.channels]]


class PaDiMHead(nn.Module):
    """Maps to scores; the image score is the smoothed map's largest value."""

    def __init__(self, gaussians: Gaussians, pixel_map: AnomalyMap) -> None:
        super().__init__()
        self.gaussians, self.pixel_map = gaussians, pixel_map

    def forward(self, encoded: list[Tensor], height: int, width: int) -> Scores:
        """Score what the encoder gave of a batch."""
        pixel = self.pixel_map(self.gaussians(encoded[0]), height, width)
        return Scores(pixel.amax(dim=(1, 2)), pixel)


def bytes_needed(positions: int, channels: int) -> int:
    """Say how many bytes learning takes: a scatter matrix in float64 and a whitening one in float32 per position.

    >>> memory(56 * 56, 550)
    11383680000
    """
    return positions * channels**2 * (8 + 4)


def _add(part: State, vectors: Tensor) -> None:
    """Take vectors (position, picture, channel) in: Chan et al. 1979, whose sums stay small beside what they are of."""
    before, new = int(part["count"]), vectors.shape[1]
    for block in _blocks(part["scatter"]):
        some = vectors[block].double()
        mean = some.mean(dim=1, keepdim=True)
        shift = mean - part["mean"][block, None]
        # The way from mean to mean is one row more, so that one product adds it all.
        rows = torch.cat([some - mean, shift * math.sqrt(before * new / (before + new))], dim=1)
        part["scatter"][block].baddbmm_(rows.mT, rows)
        part["mean"][block] += shift[:, 0] * (new / (before + new))
    part["count"] += new


def _blocks(matrices: Tensor) -> list[slice]:
    """Cut positions in blocks of about `BLOCK` numbers."""
    step = max(1, MAX_BLOCK_ELEMENTS // matrices[0].numel())
    return [slice(start, start + step) for start in range(0, len(matrices), step)]
