import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flawmap.synthetic.probe_shapes import blob, disc, grain, line


def on_the_frame(shape: np.ndarray) -> bool:
    return bool(shape[[0, -1]].any() or shape[:, [0, -1]].any())


seeds = st.integers(0, 2**32)


@given(size=st.floats(1, 80))
def test_a_disc_has_its_area_and_its_peak(size: float) -> None:
    shape = disc(size)
    area = math.pi * size**2 / 4
    edge = max(size / 4, 1)
    # A linear edge puts a little more weight outside than inside: π·edge²/12.
    assert shape.sum() == pytest.approx(area + math.pi * edge**2 / 12, rel=0.1, abs=0.5)
    assert shape[len(shape) // 2, len(shape) // 2] == 1
    assert shape.min() >= 0
    assert not on_the_frame(shape)


@given(seed=seeds, size=st.floats(1, 60), softness=st.floats(0, 0.5))
def test_a_blob_has_the_area_of_the_disc(seed: int, size: float, softness: float) -> None:
    shape = blob(np.random.default_rng(seed), size, softness)
    area = max(round(math.pi * size**2 / 4), 1)
    assert abs(int((shape >= 0.5).sum()) - area) <= 1
    assert shape.max() == 1
    assert not on_the_frame(shape)


@given(seed=seeds, length=st.floats(8, 120), width=st.floats(1, 6))
def test_a_line_covers_length_times_width(seed: int, length: float, width: float) -> None:
    shape = line(np.random.default_rng(seed), length, width)
    round_ends = math.pi * width**2 / 4
    # The mouth of a bend, and the fringe of a linear edge, are counted once instead of twice.
    assert shape.sum() == pytest.approx(length * width + round_ends, rel=0.12, abs=2)
    assert shape[len(shape) // 2, len(shape) // 2] == 1
    assert not on_the_frame(shape)


def test_lines_run_in_all_directions_and_bend_slightly() -> None:
    spans = []
    for seed in range(40):
        rows, columns = np.nonzero(line(np.random.default_rng(seed), 60, 1) > 0.5)
        spans.append((np.ptp(rows), np.ptp(columns)))
    rows, columns = np.array(spans).T
    assert rows.min() < 25
    assert columns.min() < 25
    diagonal = np.hypot(rows, columns)
    assert diagonal.max() <= 62
    assert np.median(diagonal) > 54


@given(seed=seeds, size=st.floats(3, 40))
def test_grain_has_no_mean_and_a_spread_of_one(seed: int, size: float) -> None:
    shape = blob(np.random.default_rng(seed), size, 0.2)
    filled = grain(np.random.default_rng(seed + 1), shape)[shape >= 0.5]
    assert abs(filled.mean()) < 1e-3
    assert filled.std() == pytest.approx(1, rel=1e-3)
