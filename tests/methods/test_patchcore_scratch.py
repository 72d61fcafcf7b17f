"""A fit whose vectors are in a scratch folder is the fit in memory, and goes on after a kill."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from flawmap.engine.batches import Batch, Batches
from flawmap.errors import DatasetError, OptionError, WriteError
from flawmap.features.reducers import PCA, SparseRandomProjection
from flawmap.inspector import Inspector
from flawmap.memory.forecast import FitForecast
from flawmap.memory.leave_out import LeaveOut
from flawmap.memory.thin import thin
from flawmap.methods import METHODS, fit_memory, make_method
from flawmap.methods.base import HeldOutScores
from flawmap.methods.patchcore import PatchCore
from flawmap.runtime.preprocess import Preprocessing
from flawmap.support.progress import listen
from helpers import save, texture

SIZE = Preprocessing(64, 64, letterbox_beyond=0.1, multiple=8)
TINY = {"backbone": "test_resnet", "weights": "random", "coreset": 0.2}
SETTINGS: dict[str, dict[str, Any]] = {
    "flawmap": {**TINY, "coreset": 1.0, "max_rows": 60},
    "patchcore": {**TINY, "vector_precision": "f16"},
    "improved-patchcore": {**TINY, "vector_precision": "f16"},
    "reduced bank": {
        **TINY,
        "vector_precision": "f16",
        "reducer": SparseRandomProjection(dim=9),
        "reducer_scope": "bank",
    },
}


def make(
    name: str = "flawmap", scratch: Path | None = None, memory: int = 10**12, **options: Any
) -> PatchCore:
    settings = {**SETTINGS[name], **options}
    method = make_method(name if name in METHODS else "patchcore", **settings)
    assert isinstance(method, PatchCore)
    if scratch:
        method.limit_memory(memory, scratch)
    return method


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """Fourteen images, the third and the last of which cannot be read, some of another aspect."""
    files = [tmp_path / "good" / f"{seed:02}.png" for seed in range(14)]
    for seed, file in enumerate(files):
        save(file, texture(seed, 64, 40 if seed % 4 == 3 else 64))
    for file in (files[2], files[13]):
        file.write_bytes(b"no image")
    return files


def fit(method: PatchCore, images: list[Path]) -> tuple[HeldOutScores, dict[str, torch.Tensor]]:
    preprocessing = SIZE if method.letterbox else Preprocessing(64, 64)
    scores = method.cross_fit_scores(Batches(images, preprocessing))
    return scores, method.state_dict()


def assert_equal_fits(
    first: tuple[HeldOutScores, dict[str, torch.Tensor]],
    second: tuple[HeldOutScores, dict[str, torch.Tensor]],
) -> None:
    assert torch.equal(first[0].image, second[0].image)
    assert torch.equal(first[0].peak, second[0].peak)
    assert first[1].keys() == second[1].keys()
    assert all(torch.equal(first[1][name], second[1][name]) for name in first[1])


@pytest.mark.parametrize("name", SETTINGS)
def test_vectors_in_scratch_change_nothing(name: str, images: list[Path], tmp_path: Path) -> None:
    in_memory = fit(make(name), images)
    assert_equal_fits(fit(make(name, tmp_path / "scratch"), images), in_memory)


class Stopped(Batches):
    """Batches that end as if the process had been killed."""

    def __init__(self, images: list[Path], after: int) -> None:
        super().__init__(images, SIZE)
        self.limit = after

    def after(self, *done: Any) -> Iterator[Batch]:
        for number, batch in enumerate(super().after(*done)):
            if number == self.limit:
                raise KeyboardInterrupt
            yield batch


@pytest.mark.parametrize("batches_done", [0, 1, 2])
@pytest.mark.parametrize("torn", [False, True])
def test_a_stopped_fit_goes_on(
    batches_done: int, images: list[Path], tmp_path: Path, *, torn: bool
) -> None:
    expected = fit(make(), images)
    scratch = tmp_path / "scratch"
    with pytest.raises(KeyboardInterrupt):
        make("flawmap", scratch).cross_fit_scores(Stopped(images, batches_done))
    if torn and batches_done:  # killed between the vectors and the journal, and amid a line
        for name, added in (("vectors", b"x" * 999), ("journal.jsonl", b'{"done": 12, "im')):
            with (scratch / "vectors" / name).open("ab") as stream:
                stream.write(added)
    method = make("flawmap", scratch)
    embedded: list[int] = []
    embed = method._embed

    def counting(batch: Batch) -> list[torch.Tensor]:
        embedded.append(len(batch.names))
        return embed(batch)

    method._embed = counting  # type: ignore[method-assign]
    batches = Batches(images, SIZE)
    scores = method.cross_fit_scores(batches)
    assert_equal_fits((scores, method.state_dict()), expected)
    assert sum(embedded) == 12 - 4 * batches_done
    assert [image.image_input for image in batches.unreadable] == [images[2], images[13]]
    assert len(batches.readable_indices) == 12


def test_the_scratch_of_another_fit_is_refused(images: list[Path], tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    fit(make("flawmap", scratch), images)
    with pytest.raises(OptionError, match="another fit, with other encoder"):
        fit(make("flawmap", scratch, seed=3), images)
    save(images[0], texture(77))
    with pytest.raises(OptionError, match="another fit, with other images"):
        fit(make("flawmap", scratch), images)


def test_a_scratch_without_any_image(tmp_path: Path) -> None:
    file = tmp_path / "bad.png"
    file.write_bytes(b"no image")
    with pytest.raises(DatasetError, match="no image could be used"):
        fit(make("flawmap", tmp_path / "scratch"), [file])


def test_a_reducer_that_needs_all_vectors_is_refused(images: list[Path], tmp_path: Path) -> None:
    method = make("patchcore", tmp_path / "scratch", reducer=PCA(0.5))
    with pytest.raises(OptionError, match="PCA is fitted to all vectors at once"):
        fit(method, images)


def test_arrays_can_be_fitted_from_scratch_too(tmp_path: Path) -> None:
    arrays: list[np.ndarray] = [texture(seed) for seed in range(6)]
    expected = make().cross_fit_scores(Batches(arrays, SIZE))
    scores = make("flawmap", tmp_path / "scratch").cross_fit_scores(Batches(arrays, SIZE))
    assert torch.equal(scores.image, expected.image)


def test_less_memory_than_the_least_is_refused_with_that_figure(
    images: list[Path], tmp_path: Path
) -> None:
    method = make("flawmap", tmp_path / "scratch", memory=2 * 10**8)
    with pytest.raises(
        OptionError, match=r"limit of 0\.20 GB; this fit takes \d\.\d\d GB at least"
    ):
        fit(method, images)


def thinned(
    images: list[Path], scratch: Path, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> tuple[PatchCore, HeldOutScores]:
    """A fit whose images have room for half of their patches."""
    monkeypatch.setattr(fit_memory, "_MOST_SCRATCH", 14 * 64 * options.pop("bytes", 300))
    method = make("flawmap", scratch, **options)
    return method, fit(method, images)[0]


def test_beyond_the_scratch_limit_images_are_thinned_and_all_their_patches_scored(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, scores = thinned(images, tmp_path / "scratch", monkeypatch)
    assert "Each image kept 32 of its 64 patches" in method.notes[-1]
    whole = make()
    batches = Batches(images, SIZE)
    shard = whole.extract(batches)
    grid = shard["grid"].flatten(1, 2)
    pairs = zip(grid, shard["inside"] > 0, strict=True)
    kept = torch.cat([image[thin(image, 32, inside)] for image, inside in pairs])
    is_chosen = (method.bank_.vectors[:, None] == kept).all(dim=2)  # type: ignore[union-attr]
    assert is_chosen.any(dim=1).all()
    left_out = LeaveOut(method._bank(), kept, torch.arange(12))
    for index in (0, 5, 11):  # none of them is padded
        others = left_out.bank_without(index)
        near = torch.cdist(grid[index].float(), others.vectors[others.squares.isfinite()])
        distances = near.amin(dim=1) + 2**-11 * grid[index].float().norm(dim=1)
        assert scores.image[index] == pytest.approx(float(distances.max()), rel=1e-4)


@pytest.mark.parametrize("batches_done", [1, 2])
def test_a_thinned_fit_that_was_stopped_goes_on(
    batches_done: int, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reducer: dict[str, Any] = {"reducer": SparseRandomProjection(dim=9), "reducer_scope": "bank"}
    _, expected = thinned(images, tmp_path / "whole", monkeypatch, **reducer)
    scratch = tmp_path / "scratch"
    with pytest.raises(KeyboardInterrupt):
        make("flawmap", scratch, **reducer).cross_fit_scores(Stopped(images, batches_done))
    # Another disk is fuller; what was begun is finished as it was begun.
    method, scores = thinned(images, scratch, monkeypatch, bytes=100, **reducer)
    assert torch.equal(scores.image, expected.image)
    assert "kept 32 of its 64" in method.notes[-1]


def test_a_thinned_fit_that_was_stopped_when_all_was_extracted_goes_on(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, expected = thinned(images, tmp_path / "whole", monkeypatch)
    with monkeypatch.context() as patched:
        patched.setattr(PatchCore, "_fit_patches", stop)
        with pytest.raises(KeyboardInterrupt):
            thinned(images, tmp_path / "scratch", monkeypatch)
    method, scores = thinned(images, tmp_path / "scratch", monkeypatch)
    assert torch.equal(scores.image, expected.image)
    assert "kept 32 of its 64" in method.notes[-1]


def stop(*_: object) -> None:
    raise KeyboardInterrupt


def test_groups_are_left_out_together_from_a_thinned_fit(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twice = [*images[:2], *images[:2]]
    monkeypatch.setattr(fit_memory, "_MOST_SCRATCH", 4 * 64 * 300)
    scores = {}
    for groups in ("abcd", "abab"):
        method = make("flawmap", tmp_path / groups)
        scores[groups] = method.cross_fit_scores(Batches(twice, SIZE, groups=list(groups))).image
    assert (scores["abab"] > 1.5 * scores["abcd"]).all()


def test_no_room_for_the_least_is_said_before_the_fit(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WriteError, match=r"no room for the vectors .* at least"):
        thinned(images, tmp_path / "scratch", monkeypatch, bytes=1)
    assert not (tmp_path / "scratch" / "vectors").exists()


def test_scaling_by_place_needs_all_patches(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(WriteError, match="no room"):
        thinned(images, tmp_path / "scratch", monkeypatch, place_scaling=True)


def test_an_image_that_cannot_be_read_again_ends_a_thinned_fit(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit_memory, "_MOST_SCRATCH", 14 * 64 * 300)
    method = make("flawmap", tmp_path / "scratch")
    batches = Batches(images, SIZE)
    patches = method._good_patches(batches)
    images[4].write_bytes(b"no image")
    with pytest.raises(DatasetError, match="12 good images could be read at first, and then 11"):
        method._fit_patches(patches)._left_out_scores(patches, batches.group_ids)


def forecast_of(method: PatchCore, images: list[Path]) -> FitForecast:
    events: list[object] = []
    with listen(lambda *_: None, events.append):
        fit(method, images)
    (forecast,) = [event for event in events if isinstance(event, FitForecast)]
    return forecast


def test_what_a_fit_takes_is_said_once_its_first_images_are_timed(
    images: list[Path], tmp_path: Path
) -> None:
    forecast = forecast_of(make(), images)
    assert forecast.images == 14
    assert 0 < forecast.seconds < 600
    assert 10**8 < forecast.memory < 10**10
    with_scratch = forecast_of(make("flawmap", tmp_path / "scratch"), images)
    assert with_scratch.disk - forecast.disk == 14 * 64 * 240 * 2


def test_a_method_without_a_bank_cannot_limit_its_memory(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="PaDiM keeps nothing that could be moved"):
        make_method("padim").limit_memory(10**9, tmp_path)


def test_the_vectors_go_when_the_inspector_is_saved(images: list[Path], tmp_path: Path) -> None:
    inspector = Inspector(make())
    inspector.fit(images, checkpoint_dir=tmp_path / "part.scratch", memory=10**12)
    assert (tmp_path / "part.scratch" / "vectors" / "vectors").stat().st_size
    inspector.save(tmp_path / "part.flawmap")
    assert not (tmp_path / "part.scratch" / "vectors").exists()
