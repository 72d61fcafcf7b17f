from __future__ import annotations

import numpy as np
import torch

from flawmap.features.gates import gate_axes, gate_channels

FEATURES = torch.rand(2, 8, 5, 6, generator=torch.Generator().manual_seed(0)) * 3


def standardised(values: np.ndarray, axis: int) -> np.ndarray:
    centred = values - values.mean(axis=axis, keepdims=True)
    return np.asarray(centred / values.std(axis=axis, keepdims=True))


def test_gates_of_axes_by_hand() -> None:
    features = FEATURES.double().numpy()

    rows = 1 / (1 + np.exp(-standardised(features.mean(axis=3, keepdims=True), 2)))
    columns = 1 / (1 + np.exp(-standardised(features.mean(axis=2, keepdims=True), 3)))
    by_hand = 4 * features * rows * columns
    np.testing.assert_allclose(gate_axes(FEATURES).numpy(), by_hand, rtol=1e-4)


def test_gates_of_channels_by_hand() -> None:
    features = FEATURES.double().numpy()
    channels = standardised(features.mean(axis=(2, 3), keepdims=True), 1)
    channels = channels + standardised(features.max(axis=(2, 3), keepdims=True), 1)
    by_hand = 2 * features / (1 + np.exp(-channels))
    np.testing.assert_allclose(gate_channels(FEATURES).numpy(), by_hand, rtol=1e-4)
