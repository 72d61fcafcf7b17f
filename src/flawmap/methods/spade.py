"""SPADE: compares an image with the good images most like it as a whole (Cohen & Hoshen 2020)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import length_hint
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
from flawmap.memory.concat import concat_batches
from flawmap.memory.reference_set import NearestImages, ReferenceSet
from flawmap.methods.base import HeldOutScores, State, not_fitted
from flawmap.methods.head import Head
from flawmap.methods.memory_base import MemoryMethod
from flawmap.support.options import check_range
from flawmap.support.progress import track
from flawmap.support.tensors import Compared, Embedded, Images, Indices, Maps, PerImage


@dataclass(eq=False)
class SPADE(MemoryMethod):
    """SPADE: compares an image with those good ones that are most like it as a whole.

    Cohen and Hoshen 2020, "Sub-Image Anomaly Detection with Deep Pyramid Correspondences". It keeps
    all maps of every good image: at 224 × 224 pixels 5.6 MB each with a WideResNet-50, 1.4 MB with
    a ResNet-18. An image as a whole is the mean of its deepest layer (in the paper of the fourth,
    which `layers` may name); its score is the mean distance to its `neighbours`. The anomaly map is
    each position's distance to all positions of those, averaged over the layers.

    Args:
        neighbours: how many good images to compare with, 1 or more (K in the paper); all of them
            where there are fewer. 50 is the paper's, 5 that of the implementation most in use; the
            time for an image grows with it.
        sigma: standard deviation of the Gaussian over the anomaly map, in pixels, more than 0.

    Raises:
        OptionError: a value that cannot work.

    Example:
        >>> SPADE(layers=(3, 1, 2)).layers
        (1, 2, 3)
    """

    not_exportable: ClassVar[str] = "each image chooses the good ones that it is compared with"
    is_random: ClassVar[bool] = False

    layers: tuple[int, ...] = (1, 2, 3)
    neighbours: int = field(default=50, metadata={"symbol": "K"})
    sigma: float = field(default=4.0, metadata={"symbol": "σ"})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "sigma", 0)
        if self.neighbours < 1:
            raise OptionError(
                f"{self.neighbours} neighbours are too few to compare with; use 1 or more"
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
            return self.encoder_runner.encode(batch.images).flatten()

        self.encoder_runner.warm_up(batches)
        grids = concat_batches(map(embed, batches), length_hint(batches))
        if not grids:
            raise DatasetError("no image could be used, so there is nothing to fit to")
        by_layer = dict(zip(self._names, grids, strict=True))
        return {"size": torch.tensor(sizes[0]), **by_layer}

    def fit_shards(self, shards: list[State]) -> SPADE:
        """Keep the maps of all images.

        Args:
            shards: what `extract` returned for each.

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
                f"There are {count} images, fewer than the {self.neighbours} requested neighbours; "
                "each image is compared with all of them."
            ]
        return self

    def cross_fit_scores(self, batches: Batches, folder: Path | None = None) -> HeldOutScores:
        """Fit to good images, and compare each with those of other groups.

        Args:
            batches: the images, with their groups; the encoder runs once for each.
            folder: unused; nothing is trained.

        Returns:
            Scores in the order of the images that can be read.

        Raises:
            DatasetError: all images are of one group.
        """
        del folder
        shard = self.extract(batches)
        references = self.fit_shards([shard])._references()
        group_ids = batches.group_ids
        if len(group_ids.unique()) < 2:
            raise DatasetError("only 1 image can be used, and none to compare it with; add images")
        pixel_map = AnomalyMap(self.sigma).to(best_device())
        image = torch.zeros(len(group_ids))
        peak = torch.zeros(len(group_ids))
        for index in track(range(len(group_ids)), "scoring good images", len(group_ids)):
            others = (group_ids != group_ids[index]).nonzero()[:, 0].to(best_device())
            head = _SPADEHead(references, self.neighbours, pixel_map, others)
            alone = Embedded(tuple(grid[index, None] for grid in references.grids))
            with torch.inference_mode():
                scores = head(alone, *shard["size"].tolist())
            image[index] = scores.image[0]
            peak[index] = scores.pixel.max()
        return HeldOutScores(image, peak)

    def encoder(self) -> nn.Module:
        """Images to the maps of all layers."""
        return _SPADEEncoder(self.feature_extractor)

    def head(self) -> Head:
        """The good images' maps, and the anomaly map.

        Raises:
            NotFitted: there are no good images yet.
        """
        return _SPADEHead(self._references(), self.neighbours, AnomalyMap(self.sigma))

    def fitted_state(self) -> State:
        """All maps of all good images, by layer."""
        grids = self._references().grids
        return {name: grid.cpu() for name, grid in zip(self._names, grids, strict=True)}

    def load_fitted_state(self, state: State) -> None:
        """Restore the good images' maps.

        Args:
            state: what `fitted_state` returned.
        """
        self.fit_shards([state])

    @property
    def _names(self) -> list[str]:
        return [f"layer{layer}" for layer in self.layers]

    def _references(self) -> ReferenceSet:
        if self.references_ is None:
            raise not_fitted(self)
        return self.references_


class _SPADEEncoder(nn.Module):
    """Images to the maps of all layers.

    Args:
        backbone: images to the maps of all layers.
    """

    def __init__(self, backbone: FeatureExtractor) -> None:
        super().__init__()
        self.feature_extractor = backbone

    def forward(self, images: Images) -> Embedded:
        """One map per layer, (batch, row, column, channel)."""
        maps = self.feature_extractor(images)
        grids = [rearrange(layer_map, "b c h w -> b h w c") for layer_map in maps]
        return Embedded(tuple(grid.contiguous() for grid in grids))


class _SPADEHead(Head):
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
        """Each position's distance to the nearest position of the chosen images, by layer."""
        nearest = self._nearest_images(embedded)
        levels = []
        for level, grids in enumerate(embedded.maps):
            by_image = [
                self.references.distances(level, grid, images.ids)
                for grid, images in zip(grids, nearest, strict=True)
            ]
            levels.append(torch.stack(by_image))
        return Compared(tuple(levels))

    def anomaly_map(self, embedded: Embedded, compared: Compared, height: int, width: int) -> Maps:
        """The mean over the layers, in the image's size, smoothed."""
        del embedded
        # Averaged on the pixels, where all layers are of one size.
        maps = [self.pixel_map(distances, height, width) for distances in compared.distances]
        return torch.stack(maps).mean(dim=0)

    def image_score(self, embedded: Embedded, compared: Compared, maps: Maps) -> PerImage:
        """The mean distance of each image as a whole to the chosen good ones."""
        del compared, maps
        nearest = self._nearest_images(embedded)
        return torch.stack([images.distances.mean() for images in nearest])

    def _nearest_images(self, embedded: Embedded) -> list[NearestImages]:
        return [
            self.references.nearest_images(grid, self.neighbours, self.candidates)
            for grid in embedded.maps[-1]
        ]
