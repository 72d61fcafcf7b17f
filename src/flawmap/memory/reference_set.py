"""All maps of every good image, to compare an image with those that are most like it."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from flawmap.memory.neighbours import distance_to_nearest
from flawmap.support.tensors import Indices, Patches, PatchGrid, PerImage

_ImageGrid = Float[Tensor, "row column _channel"]
_ImageDistances = Float[Tensor, "row column"]
_LayerGrid = Float[Tensor, "_image _row _column _channel"]
"""One layer's vectors at their positions; layers differ in all but the images."""


class NearestImages(NamedTuple):
    """The good images that an image as a whole is nearest to.

    Args:
        distances: distance to each of them, (image,), the nearest first.
        ids: number of each of them in the set, from 0.
    """

    distances: PerImage
    ids: Indices


class ReferenceSet(nn.Module):
    """All maps of every good image.

    Args:
        grids: of each layer, from fine to deep, (image, row, column, channel).

    Example:
        >>> dark, bright = torch.zeros(1, 2, 2, 3), torch.ones(1, 2, 2, 3)
        >>> references = ReferenceSet([torch.cat([dark, bright])])
        >>> references.nearest_images(bright[0], 1, torch.arange(2)).ids
        tensor([1])
    """

    def __init__(self, grids: list[_LayerGrid]) -> None:
        super().__init__()
        self._names = [f"grid{index}" for index in range(len(grids))]
        for name, grid in zip(self._names, grids, strict=True):
            self.register_buffer(name, grid)
        self.descriptors: Tensor
        descriptors = _global_descriptor(grids[-1])
        self.register_buffer("descriptors", descriptors, persistent=False)

    @property
    def grids(self) -> list[_LayerGrid]:
        """The maps of each layer, from fine to deep."""
        return [self.get_buffer(name) for name in self._names]

    def __len__(self) -> int:
        """The number of images."""
        return len(self.descriptors)

    def nearest_images(self, grid: _ImageGrid, count: int, candidates: Indices) -> NearestImages:
        """The candidates whose mean vectors are nearest to that of an image.

        Args:
            grid: deepest map of the image, (row, column, channel).
            count: how many to return, at most as many as there are candidates.
            candidates: numbers of the good images to choose from.
        """
        difference = self.descriptors[candidates] - _global_descriptor(grid[None])
        distances = difference.square().sum(dim=1).sqrt()
        nearest = distances.topk(count, largest=False)
        return NearestImages(nearest.values, candidates[nearest.indices])

    def distances(self, level: int, grid: _ImageGrid, ids: Indices) -> _ImageDistances:
        """Distance of each position of a map to the nearest position of some good images.

        Args:
            level: which layer the map is of, from 0 for the finest.
            grid: the map, (row, column, channel).
            ids: numbers of the good images.

        Returns:
            (row, column), >= 0.
        """
        good_grids = self.grids[level]
        vectors = [good_grids[number].flatten(0, 1) for number in ids.tolist()]
        distances = distance_to_nearest(grid.flatten(0, 1), vectors)
        by_position: Tensor = distances.reshape(grid.shape[:2])
        return by_position


def _global_descriptor(grid: PatchGrid) -> Patches:
    """One vector for each image as a whole, the mean of its map."""
    return grid.mean(dim=(1, 2))
