from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flawmap.errors import BundleError, WriteError
from flawmap.runtime import bundle
from flawmap.runtime.bundle import Manifest
from flawmap.runtime.calibration import Budget, CalibrationSettings
from flawmap.runtime.preprocess import Preprocessing

ARRAYS: dict[str, Any] = {
    "b": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a": np.array([7], np.int64),
    "none": np.zeros((0, 4)),
    "one": np.array(5.0),
}
MANIFEST = Manifest(
    version="0.1.0",
    libraries={"openvino": "2025.0"},
    method_name="散热片",
    method_class="PatchCore",
    method_options={"layers": [2, 3], "precision": "f32"},
    changed_options={"layers": [2, 3]},
    preprocessing=Preprocessing(64, 96),
    weights_sha256="ab" * 32,
    fitted_images=12,
    calibration=CalibrationSettings(Budget(0.05, 0.9), exact=True, groups=("day 1", "day 2")),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    bundle.save(tmp_path / "part.flawmap", MANIFEST, ARRAYS)
    return tmp_path / "part.flawmap"


def rewrite(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the manifest of a saved file by hand, and put the right hash in it."""
    data = file.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    values = json.loads(header["__metadata__"]["flawmap"])
    values["sha256"] = "0" * 64
    change(values)
    header["__metadata__"]["flawmap"] = json.dumps(values)
    text = json.dumps(header).encode()
    data = struct.pack("<Q", len(text)) + text + data[8 + length :]
    digest = hashlib.sha256(data).hexdigest()
    file.write_bytes(data.replace(b"0" * 64, digest.encode(), 1))


def test_a_bundle_loads_as_it_was_saved(file: Path) -> None:
    loaded = bundle.load(file)
    assert replace(loaded.manifest, scorer_sha256="") == MANIFEST
    assert loaded.arrays.keys() == ARRAYS.keys()
    assert all(np.array_equal(loaded.arrays[name], ARRAYS[name]) for name in ARRAYS)
    assert all(loaded.arrays[name].shape == ARRAYS[name].shape for name in ARRAYS)


def test_the_files_hash_is_taken_with_zeros_in_its_own_position(file: Path) -> None:
    data, sha256 = file.read_bytes(), bundle.load(file).sha256
    zeroed = data.replace(sha256.encode(), b"0" * 64)
    assert hashlib.sha256(zeroed).hexdigest() == sha256


def scorer_sha256(file: Path, manifest: Manifest, arrays: Mapping[str, np.ndarray] = ARRAYS) -> str:
    bundle.save(file, manifest, arrays)
    return bundle.load(file).manifest.scorer_sha256


@pytest.mark.parametrize(
    "change",
    [
        {"method_class": "PaDiM"},
        {"method_options": {"layers": [2], "precision": "f32"}},
        {"preprocessing": Preprocessing(96, 64)},
        {"weights_sha256": "cd" * 32},
    ],
)
def test_what_determines_scores_changes_the_scorers_hash(
    file: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    before = bundle.load(file).manifest.scorer_sha256
    assert scorer_sha256(tmp_path / "other", replace(MANIFEST, **change)) != before


@pytest.mark.parametrize("name", ["method.bank", "graph.xml"])
def test_state_and_graph_are_in_the_scorers_hash(tmp_path: Path, name: str) -> None:
    values = np.arange(4, dtype=np.float32)
    variants: list[np.ndarray] = [
        values,
        values + 1,
        values.reshape(2, 2),
        values.astype(np.float64),
    ]
    hashes = {scorer_sha256(tmp_path / "file", MANIFEST, {name: array}) for array in variants}
    assert len(hashes) == len(variants)


@pytest.mark.parametrize(
    "change",
    [
        {"version": "9.9"},
        {"libraries": {}},
        {"method_name": "another"},
        {"changed_options": {}},
        {"fitted_images": 13},
        {"calibration": CalibrationSettings(Budget(0.5))},
        {"finetuning": {"classes": {}}},
    ],
)
def test_what_determines_no_score_leaves_the_scorers_hash(
    file: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    before = bundle.load(file)
    arrays = ARRAYS | {"calibration.scores": np.ones(3)}
    assert scorer_sha256(tmp_path / "other", replace(MANIFEST, **change), arrays) == (
        before.manifest.scorer_sha256
    )
    assert bundle.load(tmp_path / "other").sha256 != before.sha256


def test_another_precision_is_another_scorer(file: Path) -> None:
    manifest = bundle.load(file).manifest
    hashes = [manifest.scorer_sha256_in(precision) for precision in ("f32", "bf16", "int8")]
    assert hashes[0] == manifest.scorer_sha256
    assert len(set(hashes)) == 3


def test_the_same_content_gives_the_same_bytes(file: Path, tmp_path: Path) -> None:
    reordered = replace(MANIFEST, method_options=dict(reversed(MANIFEST.method_options.items())))
    bundle.save(tmp_path / "again", reordered, dict(reversed(ARRAYS.items())))
    assert (tmp_path / "again").read_bytes() == file.read_bytes()


def test_any_changed_byte_is_noticed(file: Path) -> None:
    data = file.read_bytes()
    for position in range(len(data)):
        file.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        with pytest.raises(BundleError):
            bundle.load(file)


@pytest.mark.parametrize("fraction", [0, 0.01, 0.5, 0.99])
def test_a_file_cut_short_is_noticed(file: Path, fraction: float) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * fraction)])
    with pytest.raises(BundleError, match=r"part\.flawmap: damaged"):
        bundle.load(file)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (99, r"part\.flawmap: written in format 99 by flawmap 0\.1\.0.*install a newer flawmap"),
        (1, r"part\.flawmap: written in format 1 by flawmap 0\.1\.0.*reads format 2; fit again"),
    ],
)
def test_a_file_of_another_format_is_refused(file: Path, written: int, message: str) -> None:
    rewrite(file, lambda values: values.update(format=written))
    with pytest.raises(BundleError, match=message):
        bundle.load(file)


def test_a_file_of_the_first_format_is_refused_whatever_its_keys(file: Path) -> None:
    def as_format_1(values: dict[str, Any]) -> None:
        values.clear()
        values |= {"format": 1, "sha256": "0" * 64, "version": "0.0.1", "preparation": {}}

    rewrite(file, as_format_1)
    with pytest.raises(BundleError, match=r"written in format 1 by flawmap 0\.0\.1.*fit again"):
        bundle.load(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values.pop("method_class"), "method_class"),
        (lambda values: values.update(colour="red"), "colour"),
        (lambda values: values.update(preprocessing={"height": 4}), "size 4"),
        (lambda values: values.update(fitted_images="many"), "fitted_images"),
        (lambda values: values["calibration"].pop("budget"), "calibration.*budget"),
    ],
)
def test_a_manifest_that_cannot_be_understood_names_the_file_and_the_key(
    file: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    rewrite(file, change)
    with pytest.raises(BundleError, match=rf"part\.flawmap: .*{message}.*; fit again"):
        bundle.load(file)


def test_other_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "text").write_text(json.dumps({"a": 1}))
    with pytest.raises(BundleError, match="not a file that flawmap saved"):
        bundle.load(tmp_path / "text")
    with pytest.raises(BundleError, match="cannot be read"):
        bundle.load(tmp_path / "nowhere")


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match="could not be written"):
        bundle.save(tmp_path / "file" / "part.flawmap", MANIFEST, ARRAYS)
