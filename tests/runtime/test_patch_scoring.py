from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from flawmap.errors import OptionError
from flawmap.features.anomaly_map import AnomalyMap
from flawmap.memory.bank import Bank, TopShare
from flawmap.memory.neighbours import Nearest
from flawmap.runtime import patch_scoring
from flawmap.runtime.mask import PartMask
from flawmap.runtime.patch_scoring import PatchScoring
from flawmap.runtime.preprocess import Preprocessing

SETTINGS = Preprocessing(64, 96, multiple=8, tile_overlap=0.25)
DISTANCES = np.random.default_rng(0).random((8, 12)).astype(np.float32)


def test_one_tile_is_scored_as_torch_scores_an_image() -> None:
    grid = torch.from_numpy(DISTANCES)[None]
    bank = Bank(torch.zeros(1, 2), torch.tensor([0]))
    expected = TopShare(0.1)(grid[..., None], Nearest(grid, torch.zeros_like(grid).long()), bank)
    score, pixels, _ = PatchScoring(0.1, sigma=2.0)(DISTANCES, (64, 96), SETTINGS)
    assert score == pytest.approx(float(expected), rel=1e-6)
    assert np.allclose(pixels, AnomalyMap(2.0)(grid, 64, 96)[0].numpy(), atol=1e-5)


def test_a_share_is_of_one_tile_where_the_image_is_larger() -> None:
    large = np.zeros((80, 120), np.float32)
    large[:2, :5] = 1.0
    assert PatchScoring(0.1, 0.0)(large, (640, 960), SETTINGS).score == 1.0
    small = np.zeros((2, 5), np.float32)
    small[0, 0] = 1.0
    assert PatchScoring(0.1, 0.0)(small, (16, 40), SETTINGS).score == 1.0


def test_the_map_is_cut_to_the_image() -> None:
    assert PatchScoring(0.0, 2.0)(DISTANCES, (61, 90), SETTINGS).pixels.shape == (61, 90)


@pytest.mark.parametrize("masked", [False, True])
def test_a_map_made_in_bands_is_the_whole_one(
    monkeypatch: pytest.MonkeyPatch, *, masked: bool
) -> None:
    mask = PartMask.of(np.random.default_rng(1).random((20, 13)) > 0.3)
    settings = replace(SETTINGS, mask=mask) if masked else SETTINGS
    distances = np.random.default_rng(0).random((50, 33)).astype(np.float32)
    scoring, size = PatchScoring(0.0, 3.0), (397, 258)
    whole = scoring(distances, size, settings).pixels
    for pixels in (1, 6_000, 20_000):
        monkeypatch.setattr(patch_scoring, "_PIXELS_OF_A_BAND", pixels)
        assert np.allclose(scoring(distances, size, settings).pixels, whole, atol=1e-6)


@pytest.mark.parametrize(("share", "sigma"), [(-0.1, 1), (1.1, 1), (0.1, -1), (0.1, 1e9)])
def test_what_cannot_be_is_refused(share: float, sigma: float) -> None:
    with pytest.raises(OptionError):
        PatchScoring(share, sigma)
