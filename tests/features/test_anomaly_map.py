from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from flawmap.features.anomaly_map import AnomalyMap

DISTANCES = torch.rand(2, 7, 9, generator=torch.Generator().manual_seed(0))


def test_gaussian_golden() -> None:
    kernel = AnomalyMap(sigma=4).kernel
    assert len(kernel) == 33
    assert np.isclose(kernel[16], 0.0997391, atol=1e-7)
    assert np.isclose(kernel[0], 3.3459e-5, atol=1e-9)


def test_smoothing_agrees_with_scipy() -> None:
    plain = AnomalyMap(sigma=0)(DISTANCES, 56, 72)
    smooth = AnomalyMap(sigma=4)(DISTANCES, 56, 72)
    for raw, map_ in zip(plain.numpy(), smooth.numpy(), strict=True):
        assert np.allclose(map_, gaussian_filter(raw.astype(np.float64), 4), atol=1e-6)


def test_bilinear_of_a_ramp_is_a_ramp() -> None:
    ramp = torch.arange(8.0).expand(1, 8, 8)
    row = AnomalyMap(sigma=0)(ramp, 64, 64)[0, 30]
    assert torch.allclose(row[4:-4].diff(), torch.tensor(1 / 8))


def test_a_constant_stays() -> None:
    assert torch.allclose(AnomalyMap()(torch.full((1, 4, 4), 3.0), 40, 48), torch.tensor(3.0))


def test_padding_is_zero_and_counts_in_no_average() -> None:
    """Normalised convolution in float64, by hand."""
    inside = torch.ones(2, 7, 9)
    inside[0, 4:] = 0
    inside[1, :, 6:] = 0
    found = AnomalyMap(sigma=4)(DISTANCES, 56, 72, inside.flatten(1)).numpy()
    for raw, counts, map_ in zip(DISTANCES, inside, found, strict=True):
        kept = (raw * counts)[None, None].double()
        at_pixels = [
            torch.nn.functional.interpolate(values, size=(56, 72), mode="bilinear")[0, 0].numpy()
            for values in (kept, counts[None, None].double())
        ]
        upper, lower = (gaussian_filter(values, 4) for values in at_pixels)
        is_image = np.kron(counts.numpy(), np.ones((8, 8)))
        assert np.allclose(map_, np.where(is_image, upper / np.maximum(lower, 1e-9), 0), atol=1e-6)


def test_where_all_patches_count_the_map_is_the_plain_one() -> None:
    plain = AnomalyMap()(DISTANCES, 56, 72)
    assert torch.allclose(AnomalyMap()(DISTANCES, 56, 72, torch.ones(2, 63)), plain, atol=1e-6)
