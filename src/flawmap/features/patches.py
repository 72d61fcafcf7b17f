"""From the maps of a backbone to one vector per patch: average neighbours, align scales, join.

PatchCore (Roth et al. 2022, eq. 2) and the improved PatchCore (Li et al. 2025, eq. 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Literal, NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from flawmap.features.backbone import Backbone
from flawmap.features.context import Context, Run
from flawmap.features.reduce import Projection
from flawmap.features.registration import Aligned, Aligner
from flawmap.tensors import Features, Grid, Images

Alignment = Literal["bilinear", "nearest"]


class Embedded(NamedTuple):
    """A vector per patch (batch, row, column, channel), and how their grid lies in the picture."""

    grid: Grid
    transforms: list[Tensor]
    """As `Aligned.transforms`; none where nothing was registered."""


class Embedding(nn.Module):
    """Pictures to one vector per patch, on the finest layer's grid.

    Args:
        backbone: gives the maps.
        context: what each layer's positions see of their surroundings.
        alignment: how coarser maps are brought to the finest grid.
        aligner: brings all pictures into one pose, where one was learned.
    """

    def __init__(
        self, backbone: Backbone, context: Context, alignment: Alignment = "bilinear", aligner: Aligner | None = None
    ) -> None:
        super().__init__()
        self.backbone, self.context, self.alignment, self.aligner = backbone, context, alignment, aligner

    @property
    def blocks(self) -> tuple[int, ...]:
        """The sizes of the runs of channels that come from one source, in the order of the vector."""
        return self.context.blocks(self.backbone.channels)

    def forward(self, images: Images, reduction: nn.Module | None = None) -> Embedded:
        """Embed a batch, with shorter vectors where a reduction is given."""
        aligned = self.aligner(self.backbone, images) if self.aligner else Aligned(self.backbone(images), [])
        return Embedded(self.treat(aligned.maps, reduction), aligned.transforms)

    def treat(self, maps: Sequence[Features], reduction: nn.Module | None = None) -> Grid:
        """Make vectors of the backbone's maps."""
        if isinstance(reduction, Projection) and not self.context.pools_joined:
            return self._project(maps, reduction)
        *shallow, deep = maps
        treated = [*map(self.context.shallow, shallow), self.context.deep(deep)]
        grid = rearrange(self.context.join(join(treated, self.alignment)), "b c h w -> b h w c")
        return grid if reduction is None else reduction(grid)

    def _project(self, maps: Sequence[Features], projection: Projection) -> Grid:
        """Project first, then average and align what is left.

        Averaging and aligning treat all channels alike, so they may as well follow, and then have a tenth of the
        numbers to treat; coarse maps are projected where they are small.
        """
        *shallow, deep = maps
        layers = [*map(self.context.shallow_runs, shallow), self.context.deep_runs(deep)]
        rows = iter(projection.matrix.split([run.features.shape[1] for runs in layers for run in runs]))
        short = [_sum([self.context.finish(_shortened(run, next(rows))) for run in runs]) for runs in layers]
        joined = _sum(align(short, self.alignment))
        return rearrange(joined, "b c h w -> b h w c") - projection.offset


def _sum(maps: list[Features]) -> Features:
    return reduce(torch.add, maps)


def _shortened(run: Run, matrix: Tensor) -> Run:
    flat = matrix.T @ run.features.flatten(2)
    return Run(flat.unflatten(2, run.features.shape[2:]), run.averaged)


def join(maps: Sequence[Features], alignment: Alignment = "bilinear") -> Features:
    """Bring all maps to the size of the first and join their channels."""
    return torch.cat(align(maps, alignment), dim=1)


def align(maps: Sequence[Features], alignment: Alignment = "bilinear") -> list[Features]:
    """Bring all maps to the size of the first."""
    size = maps[0].shape[-2:]
    # Half-pixel centres, as align_corners=False: a coarse value sits in the middle of the pixels it covers.
    return [maps[0], *(functional.interpolate(features, size=size, mode=alignment) for features in maps[1:])]
