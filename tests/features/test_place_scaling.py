from __future__ import annotations

import numpy as np
import torch

from flawmap.features.place_scaling import PlaceScaling

RNG = np.random.default_rng(0)
DISTANCES = RNG.gamma(4, size=(30, 5, 7)) * np.linspace(1, 3, 7)


def mean_3x3(values: np.ndarray) -> np.ndarray:
    """Of the neighbours that there are."""
    out = np.empty_like(values)
    for row in range(values.shape[0]):
        for column in range(values.shape[1]):
            rows = slice(max(row - 1, 0), row + 2)
            columns = slice(max(column - 1, 0), column + 2)
            out[row, column] = values[rows, columns].mean()
    return out


def test_agrees_with_the_formula() -> None:
    scaling = PlaceScaling.fit(torch.tensor(DISTANCES, dtype=torch.float32))
    new = RNG.gamma(4, size=(2, 5, 7)) + 3
    place_mean = mean_3x3(DISTANCES.mean(axis=0))
    place_std = mean_3x3(DISTANCES.std(axis=0))
    mean = (place_mean + DISTANCES.mean()) / 2
    std = (place_std + DISTANCES.std()) / 2
    expected = np.maximum((new - mean) / std, 0)
    assert np.allclose(scaling(torch.tensor(new, dtype=torch.float32)), expected, rtol=1e-4)


def test_padding_does_not_count_and_a_place_without_images_is_average() -> None:
    inside = np.ones(DISTANCES.shape, bool)
    inside[:, :, 5:] = False
    wrong = np.where(inside, DISTANCES, 1e6)
    scaling = PlaceScaling.fit(torch.tensor(wrong).float(), torch.tensor(inside).flatten())
    alone = PlaceScaling.fit(torch.tensor(DISTANCES[:, :, :5]).float())
    assert torch.allclose(scaling.mean[:, :4], alone.mean[:, :4], rtol=1e-5)
    assert torch.allclose(scaling.std[:, :4], alone.std[:, :4], rtol=1e-5)
    average = float(DISTANCES[:, :, :5].mean())
    assert torch.allclose(scaling.mean[:, 6], torch.tensor(average), rtol=1e-5)


def test_distances_without_spread_are_finite() -> None:
    scaling = PlaceScaling.fit(torch.ones(4, 3, 3))
    assert torch.isfinite(scaling(torch.full((1, 3, 3), 2.0))).all()
    assert torch.equal(scaling(torch.zeros(1, 3, 3)), torch.zeros(1, 3, 3))
