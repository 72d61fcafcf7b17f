from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from flawmap.synthetic.textures import draw_texture, length_unit, perlin_noise, stretch
from helpers import texture


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_textures_vary_and_have_the_images_size() -> None:
    image = texture(0, 48, 80)
    kept = image.copy()
    drawn = [draw_texture(rng(seed), image) for seed in range(24)]
    assert {(image.shape, image.dtype) for image in drawn} == {((48, 80, 3), np.dtype(np.uint8))}
    assert len({image.tobytes() for image in drawn}) == len(drawn)
    assert np.array_equal(image, kept)
    grey = [bool((image == image[..., :1]).all()) for image in drawn]
    assert any(grey)
    assert not all(grey)


def test_a_seed_is_a_texture() -> None:
    image = texture(0)
    assert np.array_equal(draw_texture(rng(3), image), draw_texture(rng(3), image))


def naive_perlin(rows: int, columns: int, heading: np.ndarray, size: int) -> np.ndarray:
    """Perlin noise by its definition, cell by cell: gradients times distances, faded together."""

    def fade(t: float) -> float:
        return 6 * t**5 - 15 * t**4 + 10 * t**3

    noise = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            y, x = (i + 0.5) * rows / size, (j + 0.5) * columns / size
            for row in (int(y), int(y) + 1):
                for column in (int(x), int(x) + 1):
                    slope = np.cos(heading[row, column]) * (x - column)
                    slope += np.sin(heading[row, column]) * (y - row)
                    weight = fade(1 - abs(y - row)) * fade(1 - abs(x - column))
                    noise[i, j] += weight * slope
    return np.asarray(np.sqrt(2) * noise)


class Unturned(np.random.Generator):
    """Draws as any other, and keeps them; the angle by which noise is turned is 0."""

    def __init__(self, seed: int) -> None:
        super().__init__(np.random.PCG64(seed))

    def integers(self, *given: Any, **options: Any) -> Any:
        self.log2_cells = super().integers(*given, **options)
        return self.log2_cells

    def uniform(self, low: Any = 0, high: Any = 1, size: Any = None) -> Any:
        if size is None:
            return 0.0
        self.heading = super().uniform(low, high, size)
        return self.heading


@pytest.mark.parametrize("seed", range(4))
def test_noise_is_perlins(seed: int) -> None:
    draws = Unturned(seed)
    noise = perlin_noise(draws, 40, 40)
    rows, columns = (2**draws.log2_cells).tolist()
    assert np.abs(noise - naive_perlin(rows, columns, draws.heading, 40)).max() < 1e-4


def test_noise_has_coarse_and_fine_cells_and_no_bias() -> None:
    noises = [perlin_noise(rng(seed), 64, 64) for seed in range(60)]
    assert abs(np.mean(noises)) < 0.05
    assert 0.2 < np.std(noises) < 0.5
    roughness = [np.abs(np.diff(noise, axis=1)).mean() for noise in noises]
    assert max(roughness) > 8 * min(roughness)


@pytest.mark.parametrize(
    ("height", "width", "unit"), [(224, 224, 1), (448, 900, 2), (64, 56, 0.25)]
)
def test_lengths_grow_with_the_shorter_side(height: int, width: int, unit: float) -> None:
    assert length_unit(np.zeros((height, width, 3), np.uint8)) == unit


def test_stretching_interpolates() -> None:
    stretched = stretch(np.array([[0.0, 8.0], [0.0, 8.0]]), 4, 8)
    assert stretched.shape == (4, 8)
    assert (np.diff(stretched, axis=1) >= 0).all()
    assert (stretched[:, 0] == 0).all()
    assert (stretched[:, -1] == 8).all()
