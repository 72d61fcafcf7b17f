"""A fit whose vectors are in a scratch folder is the fit in memory, and goes on after a kill."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from flawmap.engine.batches import Batch, Batches
from flawmap.errors import DatasetError, OptionError
from flawmap.features.reducers import PCA, SparseRandomProjection
from flawmap.inspector import Inspector
from flawmap.methods import METHODS, make_method
from flawmap.methods.base import HeldOutScores
from flawmap.methods.patchcore import PatchCore
from flawmap.runtime.preprocess import Preprocessing
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


def test_a_method_without_a_bank_cannot_limit_its_memory(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="PaDiM keeps nothing that could be moved"):
        make_method("padim").limit_memory(10**9, tmp_path)


def test_the_vectors_go_when_the_inspector_is_saved(images: list[Path], tmp_path: Path) -> None:
    inspector = Inspector(make())
    inspector.fit(images, checkpoint_dir=tmp_path / "part.scratch", memory=10**12)
    assert (tmp_path / "part.scratch" / "vectors" / "vectors").stat().st_size
    inspector.save(tmp_path / "part.flawmap")
    assert not (tmp_path / "part.scratch" / "vectors").exists()
