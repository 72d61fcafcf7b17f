from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flawmap.errors import OptionError
from flawmap.runtime.mask import PartMask
from flawmap.runtime.preprocess import PADDING, Preprocessing
from flawmap.runtime.tiles import Tiles, join_tiles, tile_layout

SIDES = st.integers(8, 300)


def preprocessing(overlap: float = 0.25, side: int = 64) -> Preprocessing:
    return Preprocessing(side, side, multiple=8, tile_overlap=overlap)


@given(SIDES, SIDES, st.floats(0, 0.75), st.sampled_from([32, 64, 96]))
def test_tiles_cover_the_image_and_begin_at_patches(
    height: int, width: int, overlap: float, side: int
) -> None:
    settings = preprocessing(overlap, side)
    layout = tile_layout(height, width, settings)
    assert 0 <= layout.height - height < 8
    for axis, length in enumerate((layout.height, layout.width)):
        origins = sorted({origin[axis] for origin in layout.origins})
        assert all(origin % 8 == 0 for origin in origins)
        steps = np.diff(origins)
        assert (steps > 0).all()
        assert (steps <= settings.tile_step(side)).all()
        assert origins[0] == 0
        assert max(side, length) == origins[-1] + side


@given(SIDES, SIDES, st.floats(0, 0.75), st.integers(0, 9))
def test_what_does_not_depend_on_tiles_is_joined_as_it_was(
    height: int, width: int, overlap: float, seed: int
) -> None:
    settings = preprocessing(overlap)
    layout = tile_layout(height, width, settings)
    whole = np.random.default_rng(seed).random((layout.height // 8, layout.width // 8))
    padded = np.pad(whole, ((0, 8), (0, 8)))
    grids = [padded[row // 8 :, column // 8 :][:8, :8] for row, column in layout.origins]
    assert np.allclose(join_tiles(grids, layout, settings), whole)


def test_pixels_are_those_of_the_image_and_the_edge_is_repeated() -> None:
    image = np.random.default_rng(0).integers(0, 256, (90, 70, 3), np.uint8)
    settings = preprocessing()
    tiles = Tiles(image, settings)
    assert tiles.layout.origins == ((0, 0), (0, 8), (32, 0), (32, 8))
    first, _, _, last = tiles
    assert np.array_equal(first, settings(image[:64, :64]))
    repeated = np.pad(image, ((0, 6), (0, 2), (0, 0)), mode="edge")
    assert np.array_equal(last, settings(repeated[32:96, 8:72]))


def test_an_image_smaller_than_a_tile_is_one_padded_tile() -> None:
    image = np.full((20, 30, 3), 200, np.uint8)
    (tile,) = Tiles(image, preprocessing())
    assert (tile[:, :24, :32] > PADDING).all()
    assert (tile[:, 24:] == PADDING).all()
    assert (tile[:, :, 32:] == PADDING).all()


def test_tiles_in_which_nothing_counts_are_left_out() -> None:
    pixels = np.zeros((128, 128), bool)
    pixels[:20, 100:] = True
    settings = replace(preprocessing(0.0), mask=PartMask.of(pixels))
    image = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    tiles = Tiles(image, settings)
    assert tiles.layout.origins == ((0, 64),)
    (tile,) = tiles
    assert (tile[:, 24:] == PADDING).all()
    assert (tile[:, :, :32] == PADDING).all()
    assert np.array_equal(tile[:, :20, 36:], preprocessing()(image[:64, 64:])[:, :20, 36:])
    changed = image.copy()
    changed[~pixels] = 7
    assert np.array_equal(tile, next(iter(Tiles(changed, settings))))
    joined = join_tiles([np.ones((8, 8))], tiles.layout, settings)
    assert (joined[:8, 8:] == 1).all()
    assert joined.sum() == 64


def test_neighbours_blend_where_they_overlap() -> None:
    settings = preprocessing(0.5)
    layout = tile_layout(64, 96, settings)
    zeros, ones = np.zeros((8, 8)), np.ones((8, 8))
    joined = join_tiles([zeros, ones], layout, settings)
    assert np.allclose(joined, joined[0])
    assert np.allclose(joined[0, :5], 0, atol=0.01)
    assert np.allclose(joined[0, 5:7], [0.25, 0.75])
    assert np.allclose(joined[0, 7:], 1, atol=0.01)


@pytest.mark.parametrize("overlap", [-0.1, 0.76, 1.0, float("nan")])
def test_an_overlap_that_cannot_be_is_refused(overlap: float) -> None:
    with pytest.raises(OptionError, match=r"use a fraction of 0 to 0\.75"):
        preprocessing(overlap)


def test_a_tile_is_of_whole_patches_and_not_letterboxed() -> None:
    with pytest.raises(OptionError, match="cannot be that of tiles"):
        preprocessing(side=60)
    with pytest.raises(OptionError, match="cannot be letterboxed"):
        Preprocessing(64, 64, multiple=8, tile_overlap=0.25, letterbox_beyond=0.1)
