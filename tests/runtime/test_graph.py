from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from flawmap.errors import OptionError
from flawmap.runtime import graph
from flawmap.runtime.graph import Graph, GraphRunner, InferenceResult, concat_graphs

SIZE = 48
IMAGES = np.random.default_rng(0).random((60, 3, SIZE, SIZE), dtype=np.float32)


def convolution(seed: int = 0) -> Graph:
    """Convolutions that take a while, so that several images are under way at once."""
    rng = np.random.default_rng(seed)
    image = ops.parameter([1, 3, SIZE, SIZE], np.float32)
    kernels = [rng.normal(0, 0.1, shape) for shape in ((16, 3, 3, 3), (16, 16, 3, 3))]
    maps = image
    for kernel in kernels:
        constant = ops.constant(kernel.astype(np.float32))
        maps = ops.relu(ops.convolution(maps, constant, [1, 1], [1, 1], [1, 1], [1, 1]))
    return Graph(openvino.Model([maps], [image]))


@pytest.fixture(params=[False, True], ids=["latency", "throughput"])
def runner(request: pytest.FixtureRequest) -> GraphRunner:
    return GraphRunner(convolution(), throughput=request.param)


@pytest.fixture
def expected(runner: GraphRunner) -> list[np.ndarray]:
    return [runner(image).outputs[0] for image in IMAGES]


def arrays(results: Iterator[InferenceResult]) -> list[np.ndarray]:
    return [result.outputs[0] for result in results]


def equal(actual: list[np.ndarray], expected: list[np.ndarray]) -> bool:
    pairs = zip(actual, expected, strict=True)
    return all(np.array_equal(array, other) for array, other in pairs)


def in_threads(work: Callable[[int], list[np.ndarray]]) -> list[list[np.ndarray]]:
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(work, range(8)))


def test_a_run_is_in_order(runner: GraphRunner, expected: list[np.ndarray]) -> None:
    assert len({array.tobytes() for array in expected}) == len(IMAGES)
    assert equal(arrays(runner.run_many(IMAGES)), expected)


def test_threads_with_single_images(runner: GraphRunner, expected: list[np.ndarray]) -> None:
    results = in_threads(lambda _: [runner(image).outputs[0] for image in IMAGES])
    assert all(equal(actual, expected) for actual in results)


def test_threads_with_a_run_each(runner: GraphRunner, expected: list[np.ndarray]) -> None:
    results = in_threads(lambda number: arrays(runner.run_many(np.roll(IMAGES, number, axis=0))))
    for number, actual in enumerate(results):
        assert equal(actual, expected[-number:] + expected[:-number] if number else expected)


def test_runs_in_turn(runner: GraphRunner, expected: list[np.ndarray]) -> None:
    forwards, backwards = runner.run_many(IMAGES), runner.run_many(IMAGES[::-1])
    pairs = list(zip(forwards, backwards, strict=True))
    assert equal([first.outputs[0] for first, _ in pairs], expected)
    assert equal([second.outputs[0] for _, second in pairs], expected[::-1])


def test_runs_left_half_way_hold_up_nobody(runner: GraphRunner, expected: list[np.ndarray]) -> None:
    left = [runner.run_many(IMAGES) for _ in range(20)]
    for run in left:
        next(run)
    # All requests are held by runs that nobody goes on with.
    assert equal(arrays(runner.run_many(IMAGES)), expected)
    assert equal(arrays(left[0]), expected[1:])


def camera() -> Iterator[np.ndarray]:
    """Images from a camera that fails."""
    yield from IMAGES[:3]
    raise OSError("unplugged")


def test_requests_come_back(runner: GraphRunner, expected: list[np.ndarray]) -> None:
    before = runner.free_requests
    for _ in range(5):
        run = runner.run_many(IMAGES)
        next(run)
        del run
    assert runner.free_requests == before
    with pytest.raises(OSError, match="unplugged"):
        list(runner.run_many(camera()))
    assert runner.free_requests == before
    assert equal(arrays(runner.run_many(IMAGES)), expected)


def test_an_image_of_another_size_is_refused_and_holds_up_nobody(
    runner: GraphRunner, expected: list[np.ndarray]
) -> None:
    before = runner.free_requests
    with pytest.raises(RuntimeError):
        list(runner.run_many([IMAGES[0], np.zeros((3, 5, 5), np.float32)]))
    assert runner.free_requests == before
    assert equal(arrays(runner.run_many(IMAGES)), expected)


def test_results_stay_when_the_request_is_used_again(runner: GraphRunner) -> None:
    first = runner(IMAGES[0]).outputs[0]
    before = first.copy()
    list(runner.run_many(IMAGES[1:]))
    assert np.array_equal(first, before)


def test_a_graph_loads_as_it_was_saved(expected: list[np.ndarray]) -> None:
    again = Graph.from_arrays(convolution().to_arrays())
    assert np.allclose(GraphRunner(again)(IMAGES[0]).outputs[0], expected[0], atol=1e-6)


def test_encoder_and_head_become_one_graph() -> None:
    maps = ops.parameter([1, 16, SIZE, SIZE], np.float32)
    score = ops.reduce_max(maps, [1, 2, 3])
    distances = ops.reduce_max(maps, [1])
    joined = concat_graphs(convolution(), openvino.Model([score, distances], [maps]))
    outputs = GraphRunner(joined)(IMAGES[0]).outputs
    encoded = GraphRunner(convolution())(IMAGES[0]).outputs[0]
    assert outputs[0][0] == pytest.approx(encoded.max(), rel=1e-5)
    assert np.allclose(outputs[1][0], encoded[0].max(axis=0), atol=1e-6)
    assert [output.get_any_name() for output in joined.model.outputs] == ["score", "anomaly_map"]
    assert joined.model.inputs[0].get_any_name() == "image"


def test_an_unknown_precision() -> None:
    with pytest.raises(OptionError, match="there is no precision 'f64'; there are f32, bf16, int8"):
        graph.check_precision("f64")


def test_without_bf16_it_is_f32_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "has_bf16", lambda: False)
    with pytest.warns(UserWarning, match="this CPU cannot compute in bf16, so f32 is used"):
        assert graph.supported_precision("bf16") == "f32"


def test_the_time_is_that_of_the_graph_in_milliseconds() -> None:
    run = GraphRunner(convolution())
    image = np.random.default_rng(1).random((3, SIZE, SIZE), dtype=np.float32)
    run(image)
    started = time.perf_counter()
    results = [run(image) for _ in range(100)]
    elapsed_ms = 1000 * (time.perf_counter() - started)
    graph_ms = sum(result.inference_ms for result in results)
    assert 0.01 * elapsed_ms < graph_ms <= elapsed_ms, "neither seconds nor microseconds"
