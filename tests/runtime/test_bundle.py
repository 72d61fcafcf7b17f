from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from flawmap.errors import BundleError, WriteError
from flawmap.runtime import bundle

ARRAYS = {
    "b": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a": np.array([7], np.int64),
    "none": np.zeros((0, 4)),
    "one": np.array(5.0),
}
MANIFEST = {"version": "0.1.0", "name": "散热片"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    bundle.save(tmp_path / "part.flawmap", MANIFEST, ARRAYS)
    return tmp_path / "part.flawmap"


def test_comes_back(file: Path) -> None:
    loaded = bundle.load(file)
    assert loaded.manifest["name"] == "散热片"
    assert loaded.arrays.keys() == ARRAYS.keys()
    assert all(np.array_equal(loaded.arrays[name], ARRAYS[name]) for name in ARRAYS)
    assert all(loaded.arrays[name].shape == ARRAYS[name].shape for name in ARRAYS)


def test_the_same_content_gives_the_same_bytes(file: Path, tmp_path: Path) -> None:
    bundle.save(
        tmp_path / "again", dict(reversed(MANIFEST.items())), dict(reversed(ARRAYS.items()))
    )
    assert (tmp_path / "again").read_bytes() == file.read_bytes()


def test_any_changed_byte_is_noticed(file: Path) -> None:
    data = file.read_bytes()
    for place in range(len(data)):
        file.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(BundleError):
            bundle.load(file)


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_a_file_cut_short_is_noticed(file: Path, share: float) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(BundleError, match=r"part\.flawmap: damaged"):
        bundle.load(file)


def test_a_newer_file_asks_for_a_newer_flawmap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "FORMAT", 99)
    bundle.save(tmp_path / "new", {"version": "9.9"}, ARRAYS)
    monkeypatch.undo()
    with pytest.raises(BundleError, match=r"format 99 by flawmap 9\.9.*install a newer flawmap"):
        bundle.load(tmp_path / "new")


def test_other_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "text").write_text(json.dumps({"a": 1}))
    with pytest.raises(BundleError, match="not a file that flawmap saved"):
        bundle.load(tmp_path / "text")
    with pytest.raises(BundleError, match="cannot be read"):
        bundle.load(tmp_path / "nowhere")


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match="could not be written"):
        bundle.save(tmp_path / "file" / "part.flawmap", MANIFEST, ARRAYS)
