from __future__ import annotations

import torch

from flawmap.features.backbone import Backbone
from flawmap.features.context import Neighbourhood
from flawmap.features.partial_attention import PartialSelfAttention
from flawmap.features.patches import PatchEmbedder, concat_maps

FINE, COARSE = torch.rand(2, 3, 8, 8), torch.rand(2, 5, 4, 4)


def test_nearest_repeats_each_coarse_vector_over_its_block() -> None:
    joined = concat_maps([FINE, COARSE], "nearest")
    assert torch.equal(joined[:, :3], FINE)
    assert torch.equal(
        joined[:, 3:], COARSE.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    )


def test_bilinear_puts_a_coarse_value_in_the_middle_of_its_block() -> None:
    ramp = torch.arange(4.0).expand(1, 1, 4, 4)
    row = concat_maps([torch.zeros(1, 1, 8, 8), ramp], "bilinear")[0, 1, 0]
    assert torch.allclose(row, torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]))


def test_embedding_is_one_vector_per_patch_of_the_finest_layer() -> None:
    backbone = Backbone("test_resnet", weights="random")
    embedding = PatchEmbedder(backbone, PartialSelfAttention(0.25))
    embedded = embedding(torch.rand(2, 3, 64, 96))
    (grid,) = embedded.maps
    assert embedded.transforms == ()
    assert grid.shape == (2, 8, 12, 48 + 192)
    assert embedding.blocks == (48, 48, 144)


def test_embedding_in_its_parts() -> None:
    backbone = Backbone("test_resnet", weights="random")
    images = torch.rand(1, 3, 64, 64)
    fine, deep = backbone(images)
    (grid,) = PatchEmbedder(backbone, Neighbourhood())(images).maps
    pooled = torch.nn.functional.avg_pool2d(fine, 3, 1, 1)
    assert torch.equal(grid[0, 5, 2, :48], pooled[0, :, 5, 2])
    deep = torch.nn.functional.interpolate(
        torch.nn.functional.avg_pool2d(deep, 3, 1, 1), scale_factor=2, mode="bilinear"
    )
    assert torch.allclose(grid[0, 5, 2, 48:], deep[0, :, 5, 2], atol=1e-6)


def test_all_channels_attending_alone_is_sa_patchcore() -> None:
    """The embedding of SA-PatchCore, written out position by position."""
    backbone = Backbone("test_resnet", weights="random")
    images = torch.rand(1, 3, 64, 64)
    fine, deep = (maps[0].double() for maps in backbone(images))
    pooled = torch.nn.functional.max_pool2d(deep, 3, 1, 1).flatten(1)
    attended = torch.empty_like(pooled)
    for channel, values in enumerate(pooled):
        for place, query in enumerate(values):
            weights = torch.exp(query * values - (query * values).max())
            attended[channel, place] = (weights * values).sum() / weights.sum()
    expected = torch.zeros(8, 8, 240, dtype=torch.float64)
    for row in range(8):
        for column in range(8):
            around = fine[:, max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
            expected[row, column, :48] = around.sum(dim=(1, 2)) / 9
            expected[row, column, 48:] = attended[:, row // 2 * 4 + column // 2]
    context = PartialSelfAttention(ratio=1, attend="per_channel")
    assert torch.allclose(
        PatchEmbedder(backbone, context, "nearest")(images).maps[0][0], expected.float(), atol=1e-5
    )
