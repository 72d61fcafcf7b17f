"""Another bank in a saved file scores as a fresh fit with that bank does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flawmap
from flawmap.errors import OptionError
from flawmap.memory.bank import Reweighted
from flawmap.runtime import bundle
from flawmap.runtime.graph import Graph
from flawmap.runtime.new_bank import BANK_VECTORS, replace_bank
from flawmap.runtime.replaceable_search import has_search, with_bank

IDS = "method.bank.image_ids"


def image(seed: int) -> np.ndarray:
    base = np.random.default_rng(0).integers(0, 255, (64, 64, 3))
    noise = np.random.default_rng(seed).integers(-30, 30, (64, 64, 3))
    return np.asarray(np.clip(base + noise, 0, 255), np.uint8)


def fitted(first: int, file: Path, **options: Any) -> flawmap.Inspector:
    """A bank of 1,555 vectors or more, so that products in eight bits are used."""
    inspector = flawmap.Inspector(
        "patchcore", backbone="test_resnet", weights="random", size=64, coreset=0.9, **options
    )
    inspector.fit([image(seed) for seed in range(first, first + 27)]).save(file)
    return inspector


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("banks")
    fitted(0, folder / "first.flawmap")
    fitted(100, folder / "second.flawmap")
    return folder


REPLACE = """
import sys
from pathlib import Path
from flawmap.runtime import bundle
from flawmap.runtime.new_bank import replace_bank
first, second, result = map(Path, sys.argv[1:])
saved, other = bundle.load(first), bundle.load(second).arrays
arrays = replace_bank(saved, other["method.bank.vectors"], other["method.bank.image_ids"])
bundle.save(result, saved.manifest, arrays)
assert "torch" not in sys.modules
"""


def test_scores_as_a_fresh_fit_with_that_bank(files: Path) -> None:
    first, second, result = (files / f"{name}.flawmap" for name in ("first", "second", "third"))
    subprocess.run([sys.executable, "-c", REPLACE, first, second, result], check=True)
    replaced, fresh, before = (flawmap.load(file) for file in (result, second, first))
    in_torch = flawmap.Inspector.load(result)
    for seed in (1000, 1001):
        expected = fresh.inspect(image(seed)).score
        assert replaced.inspect(image(seed)).score == pytest.approx(expected, rel=1e-6)
        assert in_torch.inspect(image(seed)).score == pytest.approx(expected, rel=1e-5)
        assert before.inspect(image(seed)).score != pytest.approx(expected, rel=1e-3)


def test_a_machine_without_exact_products_searches_plainly(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = files / "first.flawmap"
    expected = flawmap.load(file).inspect(image(1002)).score
    replaced = []

    def spy(graph: Graph, vectors: np.ndarray, *, in_eight_bits: bool) -> Graph:
        replaced.append(in_eight_bits)
        return with_bank(graph, vectors, in_eight_bits=in_eight_bits)

    monkeypatch.setattr("flawmap.runtime.replaceable_search.eight_bits_are_exact", lambda: False)
    monkeypatch.setattr("flawmap.runtime.replaceable_search.with_bank", spy)
    assert flawmap.load(file).inspect(image(1002)).score == pytest.approx(expected, rel=1e-6)
    assert replaced == [False]


def test_wrong_banks(files: Path) -> None:
    saved = bundle.load(files / "first.flawmap")
    vectors, ids = saved.arrays[BANK_VECTORS], saved.arrays[IDS]
    with pytest.raises(OptionError, match="1 or more"):
        replace_bank(saved, vectors[:, 1:], ids)
    with pytest.raises(OptionError, match="image ids"):
        replace_bank(saved, vectors, ids[1:])
    with pytest.raises(OptionError, match="NaN"):
        replace_bank(saved, np.full_like(vectors, np.nan), ids)


def test_the_reweighted_score_needs_the_bank_and_keeps_it(tmp_path: Path) -> None:
    fitted(0, tmp_path / "part.flawmap", image_score=Reweighted())
    saved = bundle.load(tmp_path / "part.flawmap")
    assert not has_search(Graph.from_arrays(saved.arrays))
    with pytest.raises(OptionError, match="cannot be replaced"):
        replace_bank(saved, saved.arrays[BANK_VECTORS], saved.arrays[IDS])
