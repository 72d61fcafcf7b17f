from __future__ import annotations

import hashlib
import json
import struct
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flawmap.errors import BundleError, OptionError, WriteError
from flawmap.runtime import bundle
from flawmap.runtime.bundle import Manifest
from flawmap.runtime.calibration import Budget, CalibrationSettings
from flawmap.runtime.preprocess import Preprocessing
from small_bundle import with_right_hash

ARRAYS: dict[str, Any] = {
    "calibration.scores": np.array([1.0, 2.0]),
    "calibration.peaks": np.array([3.0, 4.0]),
    "b": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a": np.array([7], np.int64),
    "none": np.zeros((0, 4)),
    "one": np.array(5.0),
}
FINETUNING = {"config": {"mode": "synthetic"}, "classes": {}, "history": [], "excluded_sha256": []}
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
    no_graph_reason="no graph can hold it",
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    bundle.save(tmp_path / "part.flawmap", MANIFEST, ARRAYS)
    return tmp_path / "part.flawmap"


@contextmanager
def memory_limit(most_bytes: int) -> Iterator[None]:
    """Fails where the block's Python objects and arrays ever take more bytes."""
    tracemalloc.start()
    try:
        yield
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < most_bytes


def rewrite_header(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the header of a saved file by hand, and put the right hash in it."""
    data = file.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    file.write_bytes(with_right_hash(struct.pack("<Q", len(text)) + text + data[8 + length :]))


def rewrite(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """The same with the manifest in it."""

    def change_manifest(header: dict[str, Any]) -> None:
        values = json.loads(header["__metadata__"]["flawmap"])
        change(values)
        header["__metadata__"]["flawmap"] = json.dumps(values)

    rewrite_header(file, change_manifest)


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
    hashes = {
        scorer_sha256(tmp_path / "file", MANIFEST, ARRAYS | {name: array}) for array in variants
    }
    assert len(hashes) == len(variants)


@pytest.mark.parametrize(
    "change",
    [
        {"version": "9.9"},
        {"libraries": {}},
        {"method_name": "another"},
        {"changed_options": {}},
        {"fitted_images": 13},
        {"calibration": CalibrationSettings(Budget(0.5), groups=("a", "b"))},
        {"finetuning": FINETUNING},
    ],
)
def test_what_determines_no_score_leaves_the_scorers_hash(
    file: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    before = bundle.load(file)
    arrays = ARRAYS | {"calibration.scores": np.ones(2)}
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
        (1, r"part\.flawmap: written in format 1 by flawmap 0\.1\.0.*reads format 3; fit again"),
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
        (lambda values: values.update(fitted_images="12"), "no whole number"),
        (lambda values: values.update(fitted_sha256=["0"]), "fitted_sha256"),
        (lambda values: values.update(method_options={}), "no precision"),
        (lambda values: values["preprocessing"].update(std=[0, 1, 1]), "must be above 0"),
        (lambda values: values["preprocessing"].update(multiple=-8), "must be above 0"),
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


@pytest.mark.parametrize(
    "header",
    [
        b"[" * 100_000,
        b"[]",
        b'"text"',
        b'{"__metadata__": {"flawmap": "' + b"[" * 100_000 + b'"}}',
        b'{"__metadata__": {"flawmap": "{\\"format\\": true}"}}',
        b'{"__metadata__": {"flawmap": "{\\"format\\": 2, \\"sha256\\": 5}"}}',
        b'{"__metadata__": {"flawmap": "{\\"format\\": 2, \\"sha256\\": \\"\\\\ud800\\"}"}}',
    ],
)
def test_a_header_of_anything_else_is_refused(tmp_path: Path, header: bytes) -> None:
    (tmp_path / "part.flawmap").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(BundleError, match="not a file that flawmap saved"):
        bundle.load(tmp_path / "part.flawmap")


@pytest.mark.parametrize("length", [2**20, 2**40, 2**63, 2**64 - 1])
def test_a_header_that_is_longer_than_the_file_takes_no_memory(file: Path, length: int) -> None:
    file.write_bytes(length.to_bytes(8, "little") + file.read_bytes()[8:])
    with pytest.raises(BundleError, match="damaged"), memory_limit(file.stat().st_size + 200_000):
        bundle.load(file)


@pytest.mark.parametrize("shape", [[2**40], [2**31, 2**31], [2**63, 2], [-1], [1.5], "2"])
def test_an_array_that_is_larger_than_the_file_takes_no_memory(file: Path, shape: Any) -> None:
    def enlarge(header: dict[str, Any]) -> None:
        header["calibration.scores"]["shape"] = shape

    rewrite_header(file, enlarge)
    with pytest.raises(BundleError, match="damaged"), memory_limit(file.stat().st_size + 200_000):
        bundle.load(file)


@pytest.mark.parametrize("kind", ["F8_E4M3", "BF16", "no type", ["F32"], None])
def test_an_array_of_a_type_that_numpy_lacks_is_refused(file: Path, kind: Any) -> None:
    def rename(header: dict[str, Any]) -> None:
        header["calibration.scores"]["dtype"] = kind

    rewrite_header(file, rename)
    with pytest.raises(BundleError, match=r"part\.flawmap: damaged .*calibration\.scores"):
        bundle.load(file)


@pytest.mark.parametrize(
    "error", [KeyError("x"), TypeError("x"), ValueError("x"), IndexError("x"), OverflowError("x")]
)
def test_what_a_file_lacks_is_said_with_its_name(error: Exception) -> None:
    message = r"part\.flawmap: holds no complete inspector \('?x'?\); fit again"
    with pytest.raises(BundleError, match=message), bundle.refusals_named("part.flawmap"):
        raise error


def test_what_a_library_refuses_is_one_line_with_its_versions() -> None:
    message = r"^part\.flawmap: OpenVINO 2 refuses that of 1 \(no such operation\); .* fit again$"
    refused = bundle.refusals_named("part.flawmap", "OpenVINO 2 refuses that of 1")
    with pytest.raises(BundleError, match=message), refused:
        raise RuntimeError("Exception from core.cpp:1:\nCheck failed\n\nno such operation\n")


def test_flawmaps_own_errors_stay_as_they_are() -> None:
    with pytest.raises(OptionError, match="as it is"), bundle.refusals_named("part.flawmap"):
        raise OptionError("as it is")
