"""PatchCore by distances of patches, of tiles or for zones, joined before they become scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from flawmap.errors import OptionError
from flawmap.memory.bank import ImageScore, Maximum, TopShare
from flawmap.memory.threads import single_threaded
from flawmap.methods.base import HeldOutScores
from flawmap.methods.patchcore_leave_out import Compared
from flawmap.runtime.patch_scoring import PatchScoring, PeakScores
from flawmap.runtime.preprocess import Preprocessing
from flawmap.runtime.tiles import TileLayout, join_tiles
from flawmap.support.tensors import Distances, Inside, Maps


class PatchMap(nn.Module):
    """In place of an anomaly map: the distance of each patch, as it is."""

    def forward(
        self, distances: Distances, height: int, width: int, inside: Inside | None = None
    ) -> Maps:
        """The distances, (batch, row, column).

        Args:
            distances: (batch, row, column), >= 0.
            height: unused.
            width: unused.
            inside: unused.
        """
        del height, width, inside
        return distances


def make_patch_scoring(
    image_score: ImageScore, sigma: float, *, masks_padding: bool, place_scaling: bool
) -> PatchScoring:
    """How the distances of all patches make an image's score and map, with tiles or zones.

    Args:
        image_score: of the method, or that of its tiles.
        sigma: of the Gaussian over the map, in pixels.
        masks_padding: whether the method leaves padding out.
        place_scaling: whether it scales distances by place.

    Raises:
        OptionError: one of them cannot be with tiles or zones.

    Example:
        >>> make_patch_scoring(TopShare(0.001), 4.0, masks_padding=True, place_scaling=False)
        PatchScoring(share=0.001, sigma=4.0)
    """
    if not masks_padding:
        raise OptionError(
            "tiles and regions need a method that leaves padding out, since an image may be "
            "smaller than a tile, or of another aspect; use letterbox=true, or flawmap, which has "
            "it"
        )
    if place_scaling:
        raise OptionError(
            "place_scaling=true: a place in a tile is no place of the part, and a region has a "
            "threshold of its own; use place_scaling=false with tiles and regions"
        )
    return PatchScoring(_share_of(image_score), sigma)


def _share_of(image_score: ImageScore) -> float:
    if isinstance(image_score, Maximum):
        return 0.0
    if isinstance(image_score, TopShare):
        return image_score.fraction
    raise OptionError(
        f"a score by {type(image_score).__name__} cannot be had of tiles or regions; use TopShare "
        "or Maximum"
    )


class JoinedScores:
    """Scores of good images, of the distances of their tiles as they come, tile by tile.

    Args:
        scoring: how the distances of an image make its score and map.
        preprocessing: of the network's input.
    """

    def __init__(self, scoring: PatchScoring, preprocessing: Preprocessing) -> None:
        self._scoring = scoring
        self._preprocessing = preprocessing
        self._tiles: list[Tensor] = []

    def add(self, distances: Tensor, layout: TileLayout) -> PeakScores | None:
        """Add the next tile of an image.

        Args:
            distances: of its patches, row by row.
            layout: of the image's tiles.

        Returns:
            The image's score and the largest value of its map, or those of each zone; None until
            its last tile.
        """
        self._tiles.append(distances)
        if len(self._tiles) < len(layout.origins):
            return None
        shape = self._preprocessing.patch_grid
        grids = [tile.cpu().numpy().reshape(shape) for tile in self._tiles]
        self._tiles.clear()
        joined = join_tiles(grids, layout, self._preprocessing)
        return self._scoring.with_peaks(joined, layout.image_size, self._preprocessing)


@torch.inference_mode()
@single_threaded()
def leave_out_tiled(
    compared: Iterator[Compared], layouts: Sequence[TileLayout], joined: JoinedScores
) -> HeldOutScores:
    """Image scores and map peaks of good images, each by the bank without its group.

    Args:
        compared: each tile beside the bank without its group, those of an image in order.
        layouts: of each image's tiles.
        joined: makes scores of the distances.

    Returns:
        Scores in the order of the images.
    """
    images = [image for image, layout in enumerate(layouts) for _ in layout.origins]
    scores: dict[int, PeakScores] = {}
    for tile, _, nearest, _ in compared:
        image = images[tile]
        # The tiles of an image are of one group, so they follow one another.
        scored = joined.add(nearest.distances, layouts[image])
        if scored:
            scores[image] = scored
    return held_out_scores([scores[image] for image in range(len(layouts))])


def held_out_scores(scores: Sequence[PeakScores]) -> HeldOutScores:
    """Scores of images as tensors, (image,), or (image, zone) for more than one of each.

    Args:
        scores: image score and map peak of each, or those of its zones.
    """
    image = torch.tensor([one.scores for one in scores])
    peak = torch.tensor([one.peaks for one in scores])
    return HeldOutScores(image.squeeze(1), peak.squeeze(1))
