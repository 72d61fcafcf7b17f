"""SPADE: like which good pictures is it as a whole, and where does it differ from them (Cohen & Hoshen 2020)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from operator import length_hint
from typing import ClassVar

import torch
from einops import rearrange
from torch import Tensor, nn

from flawmap.engine.batches import Batch, Batches
from flawmap.engine.run import best_device
from flawmap.errors import DatasetError, OptionError
from flawmap.features.anomaly_map import AnomalyMap
from flawmap.features.backbone import Backbone
from flawmap.memory.concat import concat_batches
from flawmap.memory.neighbours import distance_to_nearest
from flawmap.methods.base import HeldOutScores, MemoryMethod, State, not_fitted
from flawmap.support.progress import track
from flawmap.support.tensors import Distances, Images, Indices, Patches, PatchGrid, Scores


@dataclass(eq=False)
class SPADE(MemoryMethod):
    """SPADE: compares a picture with those good ones that are most like it as a whole.

    It remembers all of every good picture: at 224 × 224 pixels 5.6 MB each with a WideResNet-50, 1.4 MB with a
    ResNet-18. A picture as a whole is the mean of its deepest layer (in the paper of the fourth, which `layers` may
    name); its score is the mean distance to its `neighbours`. The map says of each place how far it is from all places
    of those, layer by layer, and the mean over the layers.

    Args:
        neighbours: how many good pictures to compare with; all of them where there are fewer. 50 is the paper's, 5 that
            of the implementation most in use; the time for a picture grows with it.
        sigma: of the Gaussian over the map, in pixels.
    """

    not_exportable: ClassVar[str] = "each picture chooses the good ones that it is compared with"
    is_random: ClassVar[bool] = False

    layers: tuple[int, ...] = (1, 2, 3)
    neighbours: int = 50
    sigma: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.neighbours < 1:
            raise OptionError(f"a comparison with {self.neighbours} pictures says nothing; use 1 or more")
        # Their order means nothing here; sorted, the deepest is the last.
        self.layers = tuple(sorted(set(self.layers)))
        self.gallery_: ReferenceSet | None = None

    def extract(self, batches: Iterable[Batch]) -> State:
        """Take all layers of the pictures, each (picture, row, column, channel)."""
        sizes = []

        def look(batch: Batch) -> list[Tensor]:
            sizes.append(batch.images.shape[-2:])
            return self.encode(batch.images)

        self.warm_up(batches)
        grids = concat_batches(map(look, batches), length_hint(batches))
        if not grids:
            raise DatasetError("no picture could be used, so there is nothing to learn from")
        return {"size": torch.tensor(sizes[0]), **dict(zip(self._names, grids, strict=True))}

    def fit_shards(self, shards: list[State]) -> SPADE:
        """Put all pictures into one gallery."""
        grids = [torch.cat([part[name] for part in shards]) if shards[1:] else shards[0][name] for name in self._names]
        self.gallery_ = ReferenceSet(grids).to(best_device())
        if len(self.gallery_) < self.neighbours:
            self.notes = [
                f"There are {len(self.gallery_)} pictures, fewer than the {self.neighbours} asked for; all count."
            ]
        return self

    def cross_fit_scores(self, batches: Batches) -> HeldOutScores:
        """Gather, settle, and compare every picture with those of other groups; the network runs once."""
        part = self.extract(batches)
        head, group_ids = self.fit_shards([part]).head().to(best_device()), batches.group_ids
        if len(group_ids.unique()) < 2:
            raise DatasetError("1 picture can be used, and none to compare it with; give 2 or more")
        height, width = part["size"].tolist()
        image, peak = torch.zeros(len(group_ids)), torch.zeros(len(group_ids))
        for picture in track(range(len(group_ids)), "judging good pictures", len(group_ids)):
            others = (group_ids != group_ids[picture]).nonzero()[:, 0].to(best_device())
            with torch.inference_mode():
                scores = head.score([grid[picture] for grid in head.gallery.grids], others, height, width)
            image[picture], peak[picture] = scores.image[0], scores.pixel.max()
        return HeldOutScores(image, peak)

    def encoder(self) -> SPADEEncoder:
        """Give the network as a module that gives its layers' maps by place."""
        return SPADEEncoder(self.feature_extractor)

    def head(self) -> SPADEHead:
        """Give gallery and map as one module."""
        return SPADEHead(self._references(), self.neighbours, AnomalyMap(self.sigma))

    def fitted_state(self) -> State:
        """Give all layers of all good pictures."""
        return {name: grid.cpu() for name, grid in zip(self._names, self._references().grids, strict=True)}

    def load_fitted_state(self, learned: State) -> None:
        """Take the pictures back."""
        self.fit_shards([learned])

    @property
    def _names(self) -> list[str]:
        return [f"layer{layer}" for layer in self.layers]

    def _references(self) -> ReferenceSet:
        if self.gallery_ is None:
            raise not_fitted(self)
        return self.gallery_


class ReferenceSet(nn.Module):
    """All of every good picture.

    Args:
        grids: of each layer, from fine to deep, (picture, row, column, channel).
    """

    def __init__(self, grids: list[Tensor]) -> None:
        super().__init__()
        self.names = [f"grid{place}" for place in range(len(grids))]
        for name, grid in zip(self.names, grids, strict=True):
            self.register_buffer(name, grid)
        self.wholes: Tensor
        self.register_buffer("wholes", _global_descriptor(grids[-1]), persistent=False)

    @property
    def grids(self) -> list[Tensor]:
        """Those of the layers."""
        return [self.get_buffer(name) for name in self.names]

    def __len__(self) -> int:
        """Count the pictures."""
        return len(self.wholes)


class SPADEEncoder(nn.Module):
    """Pictures to all layers, each (picture, row, column, channel)."""

    def __init__(self, network: Backbone) -> None:
        super().__init__()
        self.feature_extractor = network

    def forward(self, images: Images) -> list[Tensor]:
        """Encode a batch."""
        return [rearrange(maps, "b c h w -> b h w c").contiguous() for maps in self.feature_extractor(images)]


class SPADEHead(nn.Module):
    """Layers to scores, picture by picture: each is compared with other good pictures."""

    def __init__(self, gallery: ReferenceSet, neighbours: int, pixel_map: AnomalyMap) -> None:
        super().__init__()
        self.gallery, self.neighbours, self.pixel_map = gallery, neighbours, pixel_map

    def forward(self, encoded: list[Tensor], height: int, width: int) -> Scores:
        """Score what the encoder gave of a batch."""
        everyone = torch.arange(len(self.gallery), device=encoded[0].device)
        scores = [self.score(list(grids), everyone, height, width) for grids in zip(*encoded, strict=True)]
        return Scores(torch.cat([score.image for score in scores]), torch.cat([score.pixel for score in scores]))

    def score(self, grids: list[Tensor], others: Indices, height: int, width: int) -> Scores:
        """Score one picture by its layers, (row, column, channel) each; the map comes in the given size.

        `others` are the numbers of the good pictures that it may be compared with.
        """
        apart = (self.gallery.wholes[others] - _global_descriptor(grids[-1][None])).square().sum(dim=1).sqrt()
        near = apart.topk(min(self.neighbours, len(others)), largest=False)
        chosen = others[near.indices].tolist()
        layers = zip(grids, self.gallery.grids, strict=True)
        found = [_apart(grid, [good[number] for number in chosen]) for grid, good in layers]
        # Averaged on the pixels, where all layers are of one size.
        maps = torch.stack([self.pixel_map(distances, height, width) for distances in found])
        return Scores(near.values.mean()[None], maps.mean(dim=0))


def _global_descriptor(grid: PatchGrid) -> Patches:
    """Say in one vector what a picture is like as a whole."""
    return grid.mean(dim=(1, 2))


def _apart(grid: Tensor, pictures: list[Tensor]) -> Distances:
    """Give each place's distance to the nearest place of all pictures, (1, row, column)."""
    distances = distance_to_nearest(grid.flatten(0, 1), [picture.flatten(0, 1) for picture in pictures])
    return distances.reshape(1, *grid.shape[:2])
