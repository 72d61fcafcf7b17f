"""SPADE: compares an image with the good images most like it as a whole (Cohen & Hoshen 2020)."""

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
from flawmap.features.backbone import FeatureExtractor
from flawmap.memory.concat import concat_batches
from flawmap.memory.neighbours import distance_to_nearest
from flawmap.methods.base import Head, HeldOutScores, MemoryMethod, State, not_fitted
from flawmap.support.progress import track
from flawmap.support.tensors import (
    Compared,
    Distances,
    Embedded,
    Images,
    Indices,
    LayerGrid,
    Maps,
    Patches,
    PatchGrid,
    PerImage,
)


@dataclass(eq=False)
class SPADE(MemoryMethod):
    """SPADE: compares an image with those good ones that are most like it as a whole.

    It keeps all maps of every good image: at 224 × 224 pixels 5.6 MB each with a WideResNet-50,
    1.4 MB with a ResNet-18. An image as a whole is the mean of its deepest layer (in the paper of
    the fourth, which `layers` may name); its score is the mean distance to its `neighbours`. The
    anomaly map is each position's distance to all positions of those, averaged over the layers.

    Args:
        neighbours: how many good images to compare with, 1 or more; all of them where there are
            fewer. 50 is the paper's, 5 that of the implementation most in use; the time for an
            image grows with it.
        sigma: of the Gaussian over the anomaly map, in pixels.

    Example:
        >>> SPADE(layers=(3, 1, 2)).layers
        (1, 2, 3)
    """

    not_exportable: ClassVar[str] = "each image chooses the good ones that it is compared with"
    is_random: ClassVar[bool] = False

    layers: tuple[int, ...] = (1, 2, 3)
    neighbours: int = 50
    sigma: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.neighbours < 1:
            raise OptionError(
                f"a comparison with {self.neighbours} images says nothing; use 1 or more"
            )
        # Their order means nothing here; sorted, the deepest is the last.
        self.layers = tuple(sorted(set(self.layers)))
        self.references_: ReferenceSet | None = None

    def extract(self, batches: Iterable[Batch]) -> State:
        """All maps of a shard's images.

        Args:
            batches: the shard's images, all of one size.

        Returns:
            `layer1` and so on, each (image, row, column, channel), and `size` of the images as
            height and width in pixels.

        Raises:
            DatasetError: no image could be used.
        """
        sizes = []

        def embed(batch: Batch) -> list[Tensor]:
            sizes.append(batch.images.shape[-2:])
            return self.encode(batch.images).flatten()

        self.warm_up(batches)
        grids = concat_batches(map(embed, batches), length_hint(batches))
        if not grids:
            raise DatasetError("no image could be used, so there is nothing to learn from")
        return {"size": torch.tensor(sizes[0]), **dict(zip(self._names, grids, strict=True))}

    def fit_shards(self, shards: list[State]) -> SPADE:
        """Keep the maps of all images.

        Args:
            shards: what `extract` gave for each.

        Returns:
            The method itself.
        """
        if len(shards) == 1:
            grids = [shards[0][name] for name in self._names]
        else:
            grids = [torch.cat([shard[name] for shard in shards]) for name in self._names]
        self.references_ = ReferenceSet(grids).to(best_device())
        count = len(self.references_)
        if count < self.neighbours:
            self.notes = [
                f"There are {count} images, fewer than the {self.neighbours} asked for; all count."
            ]
        return self

    def cross_fit_scores(self, batches: Batches) -> HeldOutScores:
        """Learn from good images, and compare each with those of other groups.

        Args:
            batches: the images; the encoder runs once for each.

        Raises:
            DatasetError: all images are of one group.
        """
        shard = self.extract(batches)
        references = self.fit_shards([shard])._references()
        group_ids = batches.group_ids
        if len(group_ids.unique()) < 2:
            raise DatasetError("1 image can be used, and none to compare it with; give 2 or more")
        pixel_map = AnomalyMap(self.sigma).to(best_device())
        image = torch.zeros(len(group_ids))
        peak = torch.zeros(len(group_ids))
        for index in track(range(len(group_ids)), "scoring good images", len(group_ids)):
            others = (group_ids != group_ids[index]).nonzero()[:, 0].to(best_device())
            head = SPADEHead(references, self.neighbours, pixel_map, others)
            alone = Embedded(tuple(grid[index, None] for grid in references.grids))
            with torch.inference_mode():
                scores = head(alone, *shard["size"].tolist())
            image[index] = scores.image[0]
            peak[index] = scores.pixel.max()
        return HeldOutScores(image, peak)

    def encoder(self) -> SPADEEncoder:
        """Images to the maps of all layers."""
        return SPADEEncoder(self.feature_extractor)

    def head(self) -> SPADEHead:
        """The good images' maps, and the anomaly map.

        Raises:
            NotFitted: there are no good images yet.
        """
        return SPADEHead(self._references(), self.neighbours, AnomalyMap(self.sigma))

    def fitted_state(self) -> State:
        """All maps of all good images, by layer."""
        grids = self._references().grids
        return {name: grid.cpu() for name, grid in zip(self._names, grids, strict=True)}

    def load_fitted_state(self, state: State) -> None:
        """Restore the good images' maps.

        Args:
            state: what `fitted_state` gave.
        """
        self.fit_shards([state])

    @property
    def _names(self) -> list[str]:
        return [f"layer{layer}" for layer in self.layers]

    def _references(self) -> ReferenceSet:
        if self.references_ is None:
            raise not_fitted(self)
        return self.references_


class ReferenceSet(nn.Module):
    """All maps of every good image.

    Args:
        grids: of each layer, from fine to deep, (image, row, column, channel).
    """

    def __init__(self, grids: list[LayerGrid]) -> None:
        super().__init__()
        self._names = [f"grid{index}" for index in range(len(grids))]
        for name, grid in zip(self._names, grids, strict=True):
            self.register_buffer(name, grid)
        self.descriptors: Tensor
        descriptors = _global_descriptor(grids[-1])
        self.register_buffer("descriptors", descriptors, persistent=False)

    @property
    def grids(self) -> list[LayerGrid]:
        """The maps of each layer, from fine to deep."""
        return [self.get_buffer(name) for name in self._names]

    def __len__(self) -> int:
        """The number of images."""
        return len(self.descriptors)


class SPADEEncoder(nn.Module):
    """Images to the maps of all layers.

    Args:
        network: gives the maps.
    """

    def __init__(self, network: FeatureExtractor) -> None:
        super().__init__()
        self.feature_extractor = network

    def forward(self, images: Images) -> Embedded:
        """One map per layer, (batch, row, column, channel).

        Args:
            images: (batch, 3, height, width), preprocessed.
        """
        maps = self.feature_extractor(images)
        grids = [rearrange(layer_map, "b c h w -> b h w c") for layer_map in maps]
        return Embedded(tuple(grid.contiguous() for grid in grids))


class SPADEHead(Head):
    """Maps to scores, image by image: each is compared with good images of its own.

    Args:
        references: the good images.
        neighbours: how many of them to compare an image with.
        pixel_map: distances per patch to distances per pixel.
        candidates: numbers of the good images to choose from; None for all.
    """

    def __init__(
        self,
        references: ReferenceSet,
        neighbours: int,
        pixel_map: AnomalyMap,
        candidates: Indices | None = None,
    ) -> None:
        super().__init__()
        self.references = references
        self.pixel_map = pixel_map
        self.candidates: Tensor
        if candidates is None:
            device = references.descriptors.device
            candidates = torch.arange(len(references), device=device)
        self.register_buffer("candidates", candidates, persistent=False)
        self.neighbours = min(neighbours, len(candidates))

    def compare(self, embedded: Embedded) -> Compared:
        """Each position's distance to the nearest position of the chosen images, by layer.

        Args:
            embedded: one map per layer, (batch, row, column, channel).
        """
        chosen = [self.candidates[near.indices] for near in self._nearest_images(embedded)]
        distances = []
        for grids, good_grids in zip(embedded.maps, self.references.grids, strict=True):
            by_image = [
                _distances(grid, [good_grids[number] for number in numbers.tolist()])
                for grid, numbers in zip(grids, chosen, strict=True)
            ]
            distances.append(torch.cat(by_image))
        return Compared(tuple(distances))

    def anomaly_map(self, embedded: Embedded, compared: Compared, height: int, width: int) -> Maps:
        """The mean over the layers, in the image's size, smoothed.

        Args:
            embedded: unused.
            compared: the distances of each layer.
            height: of the images, in pixels.
            width: of the images, in pixels.
        """
        del embedded
        # Averaged on the pixels, where all layers are of one size.
        maps = [self.pixel_map(distances, height, width) for distances in compared.distances]
        return torch.stack(maps).mean(dim=0)

    def image_score(self, embedded: Embedded, compared: Compared, maps: Maps) -> PerImage:
        """The mean distance of each image as a whole to the chosen good ones.

        Args:
            embedded: one map per layer, (batch, row, column, channel).
            compared: unused.
            maps: unused.
        """
        del compared, maps
        return torch.stack([near.values.mean() for near in self._nearest_images(embedded)])

    def _nearest_images(self, embedded: Embedded) -> list[torch.return_types.topk]:
        """Distances to the nearest candidates as a whole, and their places among these."""
        good = self.references.descriptors[self.candidates]
        found = []
        for grid in embedded.maps[-1]:
            difference = good - _global_descriptor(grid[None])
            distances = difference.square().sum(dim=1).sqrt()
            found.append(distances.topk(self.neighbours, largest=False))
        return found


def _global_descriptor(grid: PatchGrid) -> Patches:
    """One vector for each image as a whole, the mean of its map."""
    return grid.mean(dim=(1, 2))


def _distances(grid: Tensor, good_grids: list[Tensor]) -> Distances:
    """Each position's distance to the nearest position of all good images, (1, row, column)."""
    vectors = [good.flatten(0, 1) for good in good_grids]
    distances = distance_to_nearest(grid.flatten(0, 1), vectors)
    return distances.reshape(1, *grid.shape[:2])
