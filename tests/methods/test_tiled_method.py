"""Inspectors that cut images into tiles, through fit, file, runtime and evaluation of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from flawmap import Inspector, TileSize, load
from flawmap.engine.batches import Batch
from flawmap.errors import NotFitted, OptionError
from flawmap.methods import fit_memory
from flawmap.methods.patchcore import PatchCore
from flawmap.runtime.image_types import ImageU8
from helpers import TINY, save, texture

TILED: dict[str, Any] = {**TINY, "size": TileSize(64, overlap=0.25), "false_rejects": 0.2}
SIZES = [(150, 130), (100, 200), (130, 150), (64, 64), (40, 90), (141, 133)]
GOOD = [texture(seed, *size) for seed, size in enumerate(SIZES)]


def dotted(image: ImageU8, row: int, column: int) -> ImageU8:
    changed = image.copy()
    changed[row : row + 6, column : column + 6] = 255
    return changed


@pytest.fixture(scope="module")
def inspector() -> Inspector:
    return Inspector(**TILED).fit(GOOD)


def test_the_saved_file_scores_alike(inspector: Inspector, tmp_path: Path) -> None:
    inspector.save(tmp_path / "part.flawmap")
    images = [texture(50, 170, 150), texture(51, 30, 40), dotted(texture(52, 100, 300), 40, 200)]
    for loaded in (load(tmp_path / "part.flawmap"), Inspector.load(tmp_path / "part.flawmap")):
        assert loaded.preprocessing == inspector.preprocessing
        verdicts = [one.verdict for one in loaded.inspect_many(images)]
        for image, verdict in zip(images, verdicts, strict=True):
            expected = inspector.inspect(image)
            assert verdict is not None
            assert verdict.heatmap.shape == image.shape[:2]
            assert verdict.score == pytest.approx(expected.score, rel=1e-4)
            assert np.allclose(verdict.heatmap, expected.heatmap, atol=1e-3)
    assert verdicts[2] is not None
    assert verdicts[2].reject


def test_many_images_are_scored_as_one_by_one(inspector: Inspector) -> None:
    images = [texture(60 + seed, *size) for seed, size in enumerate(SIZES)] * 3
    many = [one.verdict for one in inspector.inspect_many(images)]
    for image, verdict in zip(images, many, strict=True):
        assert verdict is not None
        assert verdict.score == inspector.inspect(image).score


def test_each_good_image_is_left_out_with_all_its_tiles() -> None:
    alike = [texture(seed, 100, 140) for seed in range(5)]
    odd = 255 - texture(9, 100, 140)
    calibration = Inspector(**{**TILED, "coreset": 1.0}).fit([*alike, odd]).calibration
    scores = calibration.scores
    assert len(scores) == 6
    # Did its own other tiles count, it would be near to them.
    assert scores.argmax() == 5
    assert scores[5] > 1.5 * scores[:5].max()


def test_held_out_images_are_scored_by_their_tiles() -> None:
    inspector = Inspector(**TILED, calibration_fraction=0.4).fit(GOOD)
    assert inspector.calibration.exact
    assert len(inspector.calibration.scores) == 3


def test_tiles_in_scratch_change_nothing(
    inspector: Inspector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = inspector.calibration.scores
    fitted = Inspector(**TILED).fit(GOOD, memory=10**10, checkpoint_dir=tmp_path / "all")
    assert np.array_equal(fitted.calibration.scores, expected)
    # With half of the patches to choose from, the bank is another one, but all are scored.
    monkeypatch.setattr(fit_memory, "_MOST_SCRATCH", 900_000)
    thinned = Inspector(**TILED).fit(GOOD, memory=10**10, checkpoint_dir=tmp_path / "half")
    assert "kept 32 of its 64 patches" in thinned.method.notes[-1]
    assert len(thinned.calibration.scores) == len(GOOD)


def test_a_stopped_fit_of_tiles_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [save(tmp_path / f"{number}.png", image) for number, image in enumerate(GOOD)]
    whole = Inspector(**TILED).fit(files, memory=10**10, checkpoint_dir=tmp_path / "whole")
    expected = whole.calibration.scores
    embedded = 0
    embed = PatchCore._embed

    def stop(method: PatchCore, batch: Batch) -> list[Tensor]:
        nonlocal embedded
        embedded += 1
        if embedded == 5:  # in the middle of an image
            raise KeyboardInterrupt
        return embed(method, batch)

    monkeypatch.setattr(PatchCore, "_embed", stop)
    folder = tmp_path / "scratch"
    with pytest.raises(KeyboardInterrupt):
        Inspector(**TILED).fit(files, memory=10**10, checkpoint_dir=folder)
    embedded = 100
    scores = Inspector(**TILED).fit(files, memory=10**10, checkpoint_dir=folder).calibration.scores
    assert np.array_equal(scores, expected)


def test_a_dot_counts_as_much_wherever_tiles_end(inspector: Inspector) -> None:
    # Everything but the dot is the same everywhere, so only the tiles can make a difference.
    flat = np.full((200, 200, 3), 128, np.uint8)
    peaks = []
    for column in range(40, 160, 8):
        heatmap = inspector.inspect(dotted(flat, 96, column)).heatmap
        peaks.append(heatmap[88:110, column - 8 : column + 14].max())
    assert max(peaks) / min(peaks) < 1.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "padim"}, "PaDiM scores images as a whole"),
        ({"method": "patchcore"}, "use letterbox=true, or flawmap"),
        ({"place_scaling": True}, "a place in a tile is no place of the part"),
    ],
)
def test_methods_that_cannot_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Inspector(size=TileSize(64), **options)


def test_auto_cuts_large_images_only() -> None:
    small = Inspector(**{**TINY, "size": TileSize()}).fit([texture(seed) for seed in range(3)])
    assert small.preprocessing.tile_overlap is None
    large = Inspector(**{**TINY, "size": TileSize()})
    with pytest.raises(NotFitted, match="the good images choose the size"):
        _ = large.preprocessing
    large.fit([texture(seed, 900, 900) for seed in range(2)])
    assert large.preprocessing.tile_overlap == 0.25


def test_sides_are_rounded_to_whole_patches(inspector: Inspector) -> None:
    assert inspector.chosen_size is not None
    assert inspector.chosen_size.reason == "the images' own pixels"
    rounded = Inspector(**{**TILED, "size": TileSize(70)}).fit(GOOD).chosen_size
    assert rounded is not None
    assert rounded[:2] == (72, 72)
    assert "rounded to whole patches" in rounded.reason


def test_what_a_mask_leaves_out_changes_nothing(tmp_path: Path) -> None:
    pixels = np.zeros((50, 70), bool)
    pixels[5:30, 10:60] = True
    good = [texture(seed, 100, 140) for seed in range(5)]
    Inspector(**TILED, mask=pixels).fit(good).save(tmp_path / "part.flawmap")
    counts = pixels.repeat(2, 0).repeat(2, 1)
    image = dotted(texture(80, 100, 140), 30, 50)
    changed = np.where(counts[:, :, None], image, 255 - image)
    for loaded in (load(tmp_path / "part.flawmap"), Inspector.load(tmp_path / "part.flawmap")):
        verdict, same = loaded.inspect(image), loaded.inspect(changed)
        assert verdict.score == same.score
        assert np.array_equal(verdict.heatmap, same.heatmap)
        assert (verdict.heatmap[~counts] == 0).all()
        assert verdict.heatmap[counts].min() > 0
