"""Whatever array is given to `inspect`, it has a verdict in its own size or is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from flawmap import Runtime, load
from flawmap.errors import ImageError
from small_bundle import save_small_bundle

_TYPES = (
    arrays.boolean_dtypes()
    | arrays.integer_dtypes()
    | arrays.unsigned_integer_dtypes()
    | arrays.floating_dtypes()
    | arrays.complex_number_dtypes()
    | arrays.datetime64_dtypes()
    | arrays.byte_string_dtypes(max_len=2)
    | st.just(np.dtype(object))
    | st.just(np.dtype([("a", "u1"), ("b", "f4")]))
)
_SHAPES = st.one_of(
    arrays.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=9),
    st.tuples(st.integers(7, 20), st.integers(7, 20), st.integers(0, 5)),
    st.tuples(st.integers(7, 300), st.integers(7, 20)),
)
_VALUES = [0, 1, 0.5, -1, 255, 65535, np.nan, np.inf, -np.inf, 1e-40, 3e38]


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    return load(save_small_bundle(tmp_path_factory.mktemp("saved") / "part.flawmap"))


def an_array(dtype: np.dtype[Any], shape: tuple[int, ...], seed: int, step: int) -> np.ndarray:
    """An array of some values, whose rows may lie apart in memory or backwards."""
    rng = np.random.default_rng(seed)
    if dtype.kind in "SOVM":
        return np.zeros(shape, dtype)
    with np.errstate(all="ignore"):
        whole = rng.choice(_VALUES[: 3 + seed % 9], shape).astype(dtype)
    return np.asarray(whole[::step]) if whole.ndim else whole


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
@settings(max_examples=200)
@given(dtype=_TYPES, shape=_SHAPES, seed=st.integers(0, 10**6), step=st.sampled_from([1, 2, -1]))
def test_an_array_has_a_verdict_or_is_refused(
    runtime: Runtime, dtype: np.dtype[Any], shape: tuple[int, ...], seed: int, step: int
) -> None:
    array = an_array(dtype, shape, seed, step)
    before = array.copy()
    try:
        verdict = runtime.inspect(array)
    except ImageError as error:
        assert "\n" not in str(error)  # noqa: PT017
        (inspection,) = runtime.inspect_many([array])
        assert str(inspection.error) == str(error)  # noqa: PT017
    else:
        assert verdict.heatmap.shape == array.shape[:2]
        assert np.isfinite(verdict.score)
        assert np.isfinite(verdict.heatmap).all()
        assert runtime.inspect(array).score == verdict.score
    assert array.tobytes() == before.tobytes()


def test_the_sides_of_an_image_may_differ_much(runtime: Runtime) -> None:
    """The smallest image and a long thin one, whose sides differ by a factor of 10,000."""
    for shape in ((8, 8), (8, 80_000), (80_000, 8, 3)):
        assert runtime.inspect(np.zeros(shape, np.uint8)).heatmap.shape == shape[:2]


def test_the_path_of_a_file_may_be_anything(runtime: Runtime, tmp_path: Path) -> None:
    for path in ("", "\0", ".", str(tmp_path), "x" * 5000, str(tmp_path / "nothing.png")):
        with pytest.raises(ImageError):
            runtime.inspect(path)
