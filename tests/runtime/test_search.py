"""The search as graph operations, against a float64 oracle."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import openvino
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openvino import opset13 as ops

from flawmap.runtime import search
from flawmap.runtime.replaceable_search import eight_bits_are_exact
from flawmap.runtime.search import add_search
from flawmap.runtime.search_index import FOLD, build_index

ROWS = 1500
"""Enough that products in eight bits are used."""

pytestmark = pytest.mark.skipif(
    not eight_bits_are_exact(),
    reason="this machine's products in eight bits are not exact, and it searches plainly",
)


def compiled(vectors: np.ndarray, count: int, precision: str = "f32") -> openvino.CompiledModel:
    queries = ops.parameter([count, vectors.shape[1]], np.float32)
    model = openvino.Model([add_search(queries.output(0), vectors)], [queries])
    return openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": precision})


def found(queries: np.ndarray, vectors: np.ndarray, precision: str = "f32") -> np.ndarray:
    return np.asarray(compiled(vectors, len(queries), precision)(queries)[0])


def oracle(queries: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    rows = [np.linalg.norm(vectors.astype(np.float64) - query, axis=1).min() for query in queries]
    return np.array(rows)


def clustered(seed: int, rows: int, channels: int, spread: float = 0.3) -> np.ndarray:
    """Vectors around a few centres with few directions, as patches of good parts are."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((8, channels))
    centres = rng.standard_normal((12, 8))
    latent = centres[rng.integers(0, 12, rows)] + spread * rng.standard_normal((rows, 8))
    noise = 0.05 * rng.standard_normal((rows, channels))
    return (latent @ mixing + noise).astype(np.float32)


def doubtful_share(queries: np.ndarray, vectors: np.ndarray) -> float:
    node = ops.parameter(list(queries.shape), np.float32)
    steps = search._Search(node.output(0), build_index(vectors))
    near, beyond = steps._candidates(steps._keys())
    squared = search._measure(node.output(0), near, steps.index.vectors)
    doubtful = steps._doubtful(ops.sqrt(squared).output(0), beyond)
    model = openvino.Model([ops.convert(doubtful, np.float32).output(0)], [node])
    return float(openvino.compile_model(model, "CPU")(queries)[0].mean())


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_equals_the_oracle_and_proves_nearly_all(precision: str) -> None:
    vectors, queries = clustered(0, ROWS, 40), clustered(0, 200, 40)
    queries += 0.02
    np.testing.assert_allclose(
        found(queries, vectors, precision), oracle(queries, vectors), rtol=1e-6
    )
    assert doubtful_share(queries, vectors) < 0.2


@pytest.mark.parametrize("shift", [0, 20, 70, 100, 200, 300])
def test_queries_without_a_proof_are_searched_plainly(shift: int) -> None:
    """So many queries lie far outside, where the codes say nothing; each retry is used."""
    vectors = clustered(1, ROWS, 24)
    queries = clustered(2, 300, 24)
    queries[:shift] = 40 * np.random.default_rng(3).standard_normal((shift, 24))
    assert doubtful_share(queries, vectors) >= shift / 300
    np.testing.assert_allclose(found(queries, vectors), oracle(queries, vectors), rtol=1e-6)


def test_vectors_that_eight_bits_cannot_tell_apart() -> None:
    """More vectors at nearly one distance than are measured: only the plain search can find."""
    rng = np.random.default_rng(4)
    vectors = clustered(4, ROWS, 16)
    vectors[:600] = vectors[0] + 1e-2 * rng.standard_normal((600, 16))
    queries = (vectors[:150] + 5e-3 * rng.standard_normal((150, 16))).astype(np.float32)
    assert doubtful_share(queries, vectors) > 0.5
    np.testing.assert_allclose(found(queries, vectors), oracle(queries, vectors), rtol=1e-6)


def test_vectors_of_the_bank_are_at_no_distance() -> None:
    vectors = clustered(5, ROWS, 152)
    np.testing.assert_array_equal(found(vectors[::7], vectors), 0)


def test_duplicates_and_ties() -> None:
    vectors = np.repeat(clustered(6, ROWS // 3, 20), 3, axis=0)
    queries = clustered(7, 90, 20)
    np.testing.assert_allclose(found(queries, vectors), oracle(queries, vectors), rtol=1e-6)


def test_equal_vectors() -> None:
    vectors = np.full((ROWS, 5), 3.0, np.float32)
    queries = np.array([[3, 3, 3, 3, 3], [3, 3, 3, 3, 7], [1e4, 3, 3, 3, 3]], np.float32)
    np.testing.assert_allclose(found(queries, vectors), [0, 4, 9997], rtol=1e-6)


def test_large_offset() -> None:
    """Vectors far from zero and near each other: squares of their numbers would cancel out."""
    vectors = clustered(8, ROWS, 30) + np.float32(5000)
    queries = clustered(9, 100, 30) + np.float32(5000)
    np.testing.assert_allclose(found(queries, vectors), oracle(queries, vectors), rtol=1e-6)


@pytest.mark.parametrize("rows", [1, 2, FOLD - 1, FOLD + 1, 1023, 1024, 1025, 1300])
@pytest.mark.parametrize("channels", [1, 3, 16, 33])
def test_sizes(rows: int, channels: int) -> None:
    vectors = clustered(rows, rows, channels)
    queries = clustered(rows + 1, 37, channels)
    np.testing.assert_allclose(
        found(queries, vectors), oracle(queries, vectors), rtol=1e-6, atol=1e-7
    )


def test_one_query() -> None:
    vectors = clustered(10, ROWS, 12)
    queries = clustered(11, 1, 12)
    np.testing.assert_allclose(found(queries, vectors), oracle(queries, vectors), rtol=1e-6)


@given(st.integers(0, 10**6), st.integers(1, 20), st.floats(-3, 3), st.floats(0.01, 30))
@settings(max_examples=25, deadline=None)
def test_any_vectors(seed: int, channels: int, scale: float, tail: float) -> None:
    """Numbers of any size, with channels of different spread and heavy tails."""
    rng = np.random.default_rng(seed)
    by_channel = 10**scale * np.exp(rng.standard_normal(channels))
    draw = rng.standard_t(1 + tail, (1100 + 40, channels)) * by_channel
    vectors, queries = np.split(draw.astype(np.float32), [1100])
    actual, expected = found(queries, vectors).astype(np.float64), oracle(queries, vectors)
    # What float32 loses in a product, for those that only the plain search finds.
    lost = 1e-5 * np.square(np.linalg.norm(queries - vectors.mean(axis=0), axis=1))
    assert (actual >= expected * (1 - 1e-6)).all()
    assert (actual**2 <= expected**2 * (1 + 4e-6) + lost).all()


def test_threads_find_what_one_finds() -> None:
    vectors = clustered(12, ROWS, 64)
    batches = [clustered(seed, 100, 64) for seed in range(16)]
    model = compiled(vectors, 100)

    def run(queries: np.ndarray) -> np.ndarray:
        return np.array(model.create_infer_request().infer([queries])[0])

    alone = [run(queries) for queries in batches]
    with ThreadPoolExecutor(8) as pool:
        for expected, actual in zip(alone, pool.map(run, batches), strict=True):
            np.testing.assert_array_equal(actual, expected)
