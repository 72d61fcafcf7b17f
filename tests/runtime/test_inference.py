from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flawmap import Inspector, Runtime, load
from flawmap.errors import BundleError, ImageError, OptionError, ParityError
from flawmap.runtime import bundle, graph
from helpers import TINY, save, texture, with_defect

NEW = with_defect(texture(90, 80, 120), 40, 60)


@pytest.fixture(scope="module")
def inspector() -> Inspector:
    return Inspector(size=(64, 96), false_rejects=0.1, **TINY).fit(
        [texture(seed) for seed in range(15)]
    )


@pytest.fixture(scope="module")
def saved(inspector: Inspector, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("saved") / "part.flawmap"
    inspector.save(file)
    return file


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
        here, there = runtime.inspect(image), inspector.inspect(image)
        assert here.score == pytest.approx(there.score, rel=1e-4)
        assert here.heatmap.shape == image.shape[:2]
        assert np.abs(here.heatmap - there.heatmap).max() < 1e-4 * there.heatmap.max()
        assert (here.p_value, here.reject) == (there.p_value, there.reject)


def test_many_images_come_in_order_the_bad_ones_among_them(runtime: Runtime) -> None:
    images = [texture(seed) for seed in range(30)]
    alone = [runtime.inspect(image).score for image in images]
    mixed = [b"", *images[:20], b"no image", b"", *images[20:], b""]
    inspections = list(runtime.inspect_many(mixed))
    assert [inspection.image_input for inspection in inspections] == mixed
    assert [one.verdict.score for one in inspections if one.verdict] == pytest.approx(
        alone, rel=1e-5
    )
    assert [bool(one.error) for one in inspections] == [isinstance(image, bytes) for image in mixed]
    assert all(one.inference_ms > 0 for one in inspections if one.verdict)
    assert [len(list(runtime.inspect_many(some))) for some in ([], [b""], images[:2])] == [0, 1, 2]
    # What has no length may be a camera.
    assert len(list(runtime.inspect_many(iter(images[:3])))) == 3


def test_one_bad_image(runtime: Runtime) -> None:
    with pytest.raises(ImageError, match="the file is empty"):
        runtime.inspect(b"")


def test_a_fresh_process_judges_without_torch(
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
    done = subprocess.run(
        [sys.executable, "-c", script, saved, image], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    scores = [float(number) for number in done.stdout.split()]
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
    arguments = ["inspect", saved, image, "--report", "-o", tmp_path / "results"]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert (tmp_path / "results" / "report.html").exists()


def test_a_method_that_no_graph_can_hold_runs_in_torch(tmp_path: Path) -> None:
    options = TINY | {"coreset": None}
    del options["coreset"]
    inspector = Inspector("spade", size=64, **options).fit([texture(seed) for seed in range(8)])
    inspector.save(tmp_path / "part.flawmap")
    manifest, arrays, _ = bundle.load(tmp_path / "part.flawmap")
    assert "each image chooses" in manifest.no_graph_reason
    assert not any(name.startswith(("graph.", "golden.")) for name in arrays)
    assert load(tmp_path / "part.flawmap").inspect(NEW).score == inspector.inspect(NEW).score


@pytest.mark.parametrize(
    ("array", "factor"), [("golden.scores", 1.01), ("golden.maps", 1.01), ("golden.scores", np.nan)]
)
def test_a_machine_that_scores_otherwise_is_refused_with_the_figures(
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
    assert sorted(shapes) == [(64, 96, 3), (80, 144, 3)]


def test_a_graph_in_part(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="holds no complete inspector"):
        load(changed(saved, tmp_path / "other.flawmap", lambda arrays: arrays.pop("golden.maps")))


def test_without_bf16_it_is_f32_and_says_so(
    saved: Path, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "has_bf16", lambda: False)
    with pytest.warns(UserWarning, match="this CPU cannot compute in bf16, so f32 is used"):
        told = load(saved, "bf16")
    assert told.inspect(NEW).score == runtime.inspect(NEW).score


def test_an_unknown_precision() -> None:
    with pytest.raises(OptionError, match="there is no precision 'f64'; there are f32, bf16, int8"):
        graph.check_precision("f64")


@pytest.mark.skipif(not graph.has_bf16(), reason="this CPU does not compute in bf16")
def test_bf16_is_close(saved: Path, runtime: Runtime) -> None:
    assert load(saved, "bf16").inspect(NEW).score == pytest.approx(
        runtime.inspect(NEW).score, rel=0.02
    )


def test_int8_takes_a_network_that_was_quantised_before_it_learned(saved: Path) -> None:
    with pytest.raises(
        OptionError, match="fitted in f32 and cannot run in int8; fit with --precision int8"
    ):
        load(saved, "int8")


def test_images_that_are_all_the_same_score_nothing_and_are_no_trouble(tmp_path: Path) -> None:
    inspector = Inspector(size=64, **TINY).fit([np.full((64, 64, 3), 90, np.uint8)] * 4)
    inspector.save(tmp_path / "part.flawmap")
    assert not load(tmp_path / "part.flawmap").inspect(np.full((64, 64, 3), 90, np.uint8)).reject


def test_a_conversion_that_goes_wrong_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspector = Inspector(size=64, **TINY).fit([texture(seed) for seed in range(6)])
    monkeypatch.setattr("flawmap.engine.certify.TORCH_TOLERANCE", -1.0)
    inspector.save(tmp_path / "part.flawmap")
    assert "The file needs flawmap[fit] wherever it is used." in inspector.method.notes[-1]
    assert load(tmp_path / "part.flawmap").inspect(NEW).score == inspector.inspect(NEW).score


def test_loaded_and_saved_again_it_is_the_same_file(saved: Path, tmp_path: Path) -> None:
    Inspector.load(saved).save(tmp_path / "again.flawmap")
    assert (tmp_path / "again.flawmap").read_bytes() == saved.read_bytes()
