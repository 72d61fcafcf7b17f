from __future__ import annotations

import copy
import os
import pickle
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import flawmap
from fitted import runtime_part
from flawmap import Inspection, Runtime, Verdict, load
from flawmap.errors import BundleError, ImageError, NotPicklable, OptionError, ParityError
from flawmap.runtime import bundle, graph
from flawmap.runtime.backend import ScoredImage
from flawmap.runtime.image_types import ImageInput
from helpers import TINY, needs_fit, save, texture, with_defect

if TYPE_CHECKING:
    from flawmap import Inspector

NEW = with_defect(texture(90, 80, 120), 40, 60)


@pytest.fixture(scope="module")
def inspector(saved: Path) -> Inspector:
    return flawmap.Inspector.load(saved)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runtime_part(tmp_path_factory.mktemp("saved"))


@pytest.fixture(scope="module")
def runtime(saved: Path) -> Runtime:
    return load(saved)


def changed(saved: Path, file: Path, change: Callable[[dict[str, np.ndarray]], None]) -> Path:
    manifest, arrays, _ = bundle.load(saved)
    arrays = {name: array.copy() for name, array in arrays.items()}
    change(arrays)
    bundle.save(file, manifest, arrays)
    return file


def test_it_says_what_the_inspector_says(inspector: Inspector, runtime: Runtime) -> None:
    for image in (NEW, texture(50, 200, 90)):
        of_graph, of_torch = runtime.inspect(image), inspector.inspect(image)
        assert of_graph.score == pytest.approx(of_torch.score, rel=1e-4)
        assert of_graph.heatmap.shape == image.shape[:2]
        assert np.abs(of_graph.heatmap - of_torch.heatmap).max() < 1e-4 * of_torch.heatmap.max()
        assert (of_graph.p_value, of_graph.reject) == (of_torch.p_value, of_torch.reject)


def test_many_images_come_in_order_the_bad_ones_among_them(runtime: Runtime) -> None:
    images = [texture(seed) for seed in range(30)]
    alone = [runtime.inspect(image).score for image in images]
    mixed: list[ImageInput] = [b"", *images[:20], b"no image", b"", *images[20:], b""]
    inspections = list(runtime.inspect_many(mixed))
    assert [inspection.image_input for inspection in inspections] == mixed
    assert [
        inspection.verdict.score for inspection in inspections if inspection.verdict
    ] == pytest.approx(alone, rel=1e-5)
    assert [bool(inspection.error) for inspection in inspections] == [
        isinstance(image, bytes) for image in mixed
    ]
    assert [len(list(runtime.inspect_many(inputs))) for inputs in ([], [b""], images[:2])] == [
        0,
        1,
        2,
    ]
    # What has no length may be a camera.
    assert len(list(runtime.inspect_many(iter(images[:3])))) == 3


def test_the_time_is_that_of_the_graph_and_of_the_verdict(
    runtime: Runtime, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Backend:
        def score_many(
            self, images: Iterable[np.ndarray], *, throughput: bool
        ) -> Iterator[ScoredImage]:
            for number, image in enumerate(images):
                yield ScoredImage(1.0, np.ones(image.shape[1:], np.float32), 5.0 + number)

    readings = iter([10.0, 10.25, 20.0, 20.5])
    clock = SimpleNamespace(perf_counter=lambda: next(readings))
    monkeypatch.setattr("flawmap.runtime.inference.time", clock)
    manifest = bundle.load(saved).manifest
    timed = Runtime(manifest, runtime.calibration, Backend())
    inspections = timed.inspect_many([NEW, b"no image", NEW])
    assert [inspection.inference_ms for inspection in inspections] == [255, 0, 506]


def same(verdict: Verdict | None, other: Verdict | None) -> bool:
    """Whether two verdicts are equal bit for bit."""
    assert verdict is not None
    assert other is not None
    first = verdict.score, verdict.p_value, verdict.reject
    second = other.score, other.p_value, other.reject
    return first == second and np.array_equal(verdict.heatmap, other.heatmap)


def all_same(inspections: Iterable[Inspection], expected: list[Verdict]) -> bool:
    pairs = zip(inspections, expected, strict=True)
    return all(same(inspection.verdict, verdict) for inspection, verdict in pairs)


MANY = [
    with_defect(texture(seed), 20 + seed % 30, 30) if seed % 3 else texture(seed)
    for seed in range(40)
]


@pytest.fixture(scope="module", params=["graph", "torch"])
def shared(request: pytest.FixtureRequest, inspector: Inspector, runtime: Runtime) -> Runtime:
    """A runtime that several threads use."""
    return runtime if request.param == "graph" else inspector.runtime


@pytest.fixture(scope="module")
def alone(shared: Runtime) -> list[Verdict]:
    return [shared.inspect(image) for image in MANY]


@pytest.fixture(scope="module")
def in_a_row(shared: Runtime) -> list[Verdict]:
    """Of `inspect_many`, which may round otherwise than `inspect`."""
    verdicts = [inspection.verdict for inspection in shared.inspect_many(MANY)]
    return [verdict for verdict in verdicts if verdict]


def test_eight_threads_inspect_as_one_does(shared: Runtime, alone: list[Verdict]) -> None:
    assert len({verdict.score for verdict in alone}) == len(MANY)

    def inspect_all(_: int) -> bool:
        pairs = zip(MANY, alone, strict=True)
        return all(same(shared.inspect(image), verdict) for image, verdict in pairs)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(inspect_all, range(8)))


def test_eight_threads_inspect_many_as_one_does(
    shared: Runtime, alone: list[Verdict], in_a_row: list[Verdict]
) -> None:
    def inspect_all(number: int) -> bool:
        if number % 2:
            pairs = zip(MANY, alone, strict=True)
            return all(same(shared.inspect(image), verdict) for image, verdict in pairs)
        return all_same(shared.inspect_many(MANY), in_a_row)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(inspect_all, range(8)))


def test_two_iterators_in_turn(shared: Runtime, in_a_row: list[Verdict]) -> None:
    forwards, backwards = shared.inspect_many(MANY), shared.inspect_many(MANY[::-1])
    pairs = list(zip(forwards, backwards, strict=True))
    assert all_same([first for first, _ in pairs], in_a_row)
    assert all_same([second for _, second in pairs], in_a_row[::-1])


def test_an_iterator_left_half_way_holds_up_nobody(
    shared: Runtime, alone: list[Verdict], in_a_row: list[Verdict]
) -> None:
    left = [shared.inspect_many(MANY) for _ in range(6)]
    assert all(same(next(inspections).verdict, in_a_row[0]) for inspections in left)
    assert same(shared.inspect(MANY[1]), alone[1])
    assert all_same(shared.inspect_many(MANY), in_a_row)
    assert all_same(left.pop(), in_a_row[1:])
    left.clear()
    assert all_same(shared.inspect_many(MANY), in_a_row)


@pytest.mark.slow
def test_eight_threads_with_2000_inspections_each(runtime: Runtime) -> None:
    expected = [runtime.inspect(image) for image in MANY]

    def inspect_all(number: int) -> int:
        indices = np.random.default_rng(number).integers(0, len(MANY), 2000)
        return sum(same(runtime.inspect(MANY[index]), expected[index]) for index in indices)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(inspect_all, range(8))) == [2000] * 8


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("how", ["load", pytest.param("Inspector.load", marks=needs_fit)])
def test_a_fork_after_loading_is_refused_at_once(saved: Path, how: str) -> None:
    script = """
        import os, sys, time
        import numpy as np
        import flawmap
        from flawmap.errors import ForkError

        image = np.zeros((64, 96, 3), np.uint8)
        load = flawmap.load if sys.argv[2] == "load" else flawmap.Inspector.load
        runtime = load(sys.argv[1])
        runtime.inspect(image)
        list(runtime.inspect_many([image] * 20))
        child = os.fork()
        if not child:
            started = time.perf_counter()
            for inspect in (runtime.inspect, lambda image: runtime.inspect_many([image] * 20)):
                try:
                    inspect(image)
                except ForkError as error:
                    print(error, time.perf_counter() - started < 1)
            print(load(sys.argv[1]).inspect(image).reject, flush=True)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        print(runtime.inspect(image).reject)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(saved), how]
    completed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert completed.returncode == 0, completed.stderr
    first, second, *rejects = completed.stdout.splitlines()
    message = (
        r"the inspector was loaded in process \d+ .* fork first and load it in each process True"
    )
    assert re.fullmatch(message, first)
    assert re.fullmatch(message, second)
    assert rejects == ["True", "True"]


def test_a_file_has_the_same_hashes_wherever_it_is_loaded(saved: Path, runtime: Runtime) -> None:
    in_torch = flawmap.Inspector.load(saved).runtime
    assert runtime.model_sha256 == in_torch.model_sha256 == bundle.load(saved).sha256
    assert runtime.scorer_sha256 == in_torch.scorer_sha256


def test_an_inspector_without_a_file_has_no_hashes() -> None:
    inspector = flawmap.Inspector(size=64, **TINY).fit([texture(seed) for seed in range(3)])
    assert (inspector.runtime.model_sha256, inspector.runtime.scorer_sha256) == ("", "")


def test_one_bad_image(runtime: Runtime) -> None:
    with pytest.raises(ImageError, match="the file is empty"):
        runtime.inspect(b"")


def test_a_fresh_process_inspects_without_torch(
    saved: Path, runtime: Runtime, tmp_path: Path
) -> None:
    image = save(tmp_path / "new.png", NEW)
    script = textwrap.dedent(
        """
        import sys
        from flawmap import load
        runtime = load(sys.argv[1])
        many = runtime.inspect_many([sys.argv[2]])
        print(runtime.inspect(sys.argv[2]).score, *(one.verdict.score for one in many))
        heavy = {"torch", "timm", "torchvision", "sklearn", "scipy", "matplotlib", "nncf"}
        sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)
        """
    )
    completed = subprocess.run(
        [sys.executable, "-c", script, saved, image], capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, completed.stderr
    scores = [float(number) for number in completed.stdout.split()]
    assert scores == pytest.approx([runtime.inspect(image).score] * 2, rel=1e-6)


def test_so_does_the_command_line(saved: Path, tmp_path: Path) -> None:
    image = save(tmp_path / "new.png", NEW)
    script = textwrap.dedent(
        """
        import sys
        from flawmap.cli import main
        try:
            main()
        finally:
            assert "torch" not in sys.modules
        """
    )
    arguments = ["inspect", str(saved), str(image), "--report", "-o", str(tmp_path / "results")]
    completed = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False
    )
    assert completed.returncode == 1, completed.stderr
    assert (tmp_path / "results" / "report.html").exists()


def test_a_method_that_no_graph_can_hold_runs_in_torch(tmp_path: Path) -> None:
    options: dict[str, Any] = TINY | {"coreset": None}
    del options["coreset"]
    inspector = flawmap.Inspector("spade", size=64, **options).fit(
        [texture(seed) for seed in range(8)]
    )
    inspector.save(tmp_path / "part.flawmap")
    manifest, arrays, _ = bundle.load(tmp_path / "part.flawmap")
    assert "each image chooses" in manifest.no_graph_reason
    assert not any(name.startswith(("graph.", "golden.")) for name in arrays)
    assert load(tmp_path / "part.flawmap").inspect(NEW).score == inspector.inspect(NEW).score


@pytest.mark.parametrize(("array", "factor"), [("golden.scores", 1.01), ("golden.maps", 1.01)])
def test_a_machine_that_scores_otherwise_is_refused_with_the_scores(
    saved: Path, tmp_path: Path, array: str, factor: float
) -> None:
    def spoil(arrays: dict[str, np.ndarray]) -> None:
        arrays[array] *= factor

    with pytest.raises(
        ParityError, match=r"other.flawmap, in f32 .* golden image 1 of 2 .* allowed are 0.10%"
    ):
        load(changed(saved, tmp_path / "other.flawmap", spoil))


def test_a_golden_image_is_longer_and_larger_than_the_networks_input(saved: Path) -> None:
    shapes = [
        array.shape
        for name, array in bundle.load(saved).arrays.items()
        if name.startswith("golden.pixels")
    ]
    # Half as wide again, and a tenth more, from which on images are letterboxed.
    assert sorted(shapes) == [(64, 96, 3), (80, 158, 3)]


def test_a_graph_in_part(saved: Path, tmp_path: Path) -> None:
    def drop_maps(arrays: dict[str, np.ndarray]) -> None:
        del arrays["golden.maps"]

    with pytest.raises(BundleError, match="holds no complete inspector"):
        load(changed(saved, tmp_path / "other.flawmap", drop_maps))


def test_without_bf16_it_is_f32_and_says_so(
    saved: Path, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "has_bf16", lambda: False)
    with pytest.warns(UserWarning, match="this CPU cannot compute in bf16, so f32 is used"):
        runtime_bf16 = load(saved, "bf16")
    assert runtime_bf16.inspect(NEW).score == runtime.inspect(NEW).score


@pytest.mark.skipif(not graph.has_bf16(), reason="this CPU does not compute in bf16")
def test_bf16_is_close(saved: Path, runtime: Runtime) -> None:
    assert load(saved, "bf16").inspect(NEW).score == pytest.approx(
        runtime.inspect(NEW).score, rel=0.02
    )


def test_int8_takes_a_network_that_was_quantised_before_the_fit(saved: Path) -> None:
    with pytest.raises(
        OptionError, match="fitted in f32 and cannot run in int8; fit with --precision int8"
    ):
        load(saved, "int8")


def test_images_that_are_all_the_same_score_nothing_and_are_no_trouble(tmp_path: Path) -> None:
    inspector = flawmap.Inspector(size=64, **TINY).fit([np.full((64, 64, 3), 90, np.uint8)] * 4)
    inspector.save(tmp_path / "part.flawmap")
    assert not load(tmp_path / "part.flawmap").inspect(np.full((64, 64, 3), 90, np.uint8)).reject


def test_a_conversion_that_goes_wrong_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspector = flawmap.Inspector(size=64, **TINY).fit([texture(seed) for seed in range(6)])
    monkeypatch.setattr("flawmap.engine.certify.TORCH_TOLERANCE", -1.0)
    inspector.save(tmp_path / "part.flawmap")
    assert "The file needs flawmap[fit] wherever it is used." in inspector.method.notes[-1]
    assert load(tmp_path / "part.flawmap").inspect(NEW).score == inspector.inspect(NEW).score


def test_loaded_and_saved_again_it_is_the_same_file(saved: Path, tmp_path: Path) -> None:
    flawmap.Inspector.load(saved).save(tmp_path / "again.flawmap")
    assert (tmp_path / "again.flawmap").read_bytes() == saved.read_bytes()


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_what_no_number_holds_is_no_verdict(saved: Path, runtime: Runtime, value: float) -> None:
    class Backend:
        def score_many(
            self, images: Iterable[np.ndarray], *, throughput: bool
        ) -> Iterator[ScoredImage]:
            for number, image in enumerate(images):
                distances = np.ones(image.shape[1:], np.float32)
                distances[3, 4] = value if number else 1
                yield ScoredImage(value if number > 1 else 1.0, distances, 5.0)

    broken = Runtime(bundle.load(saved).manifest, runtime.calibration, Backend())
    first, *others = broken.inspect_many([NEW, NEW, NEW])
    assert first.verdict
    for inspection in others:
        assert inspection.verdict is None
        assert re.search("cannot be scored: .*use precision f32", str(inspection.error))


@needs_fit
@pytest.mark.parametrize("copy_of", [pickle.dumps, copy.deepcopy])
def test_a_loaded_inspector_is_not_pickled(
    copy_of: Callable[[object], object], runtime: Runtime, inspector: Inspector
) -> None:
    for loaded in (runtime, inspector.runtime):
        with pytest.raises(NotPicklable, match="give the other process the path of the file"):
            copy_of(loaded)
    assert issubclass(NotPicklable, TypeError)
