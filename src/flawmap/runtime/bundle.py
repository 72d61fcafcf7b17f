"""The saved file: a manifest and arrays in one safetensors file, under one hash.

There is no pickle in it, so loading runs no code. The manifest is JSON in the file's metadata, with
the format and the SHA-256 of the whole file beside it. That hash is taken with 64 zeros in its own
place, so that any changed byte is noticed.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from cattrs.errors import BaseValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays

from flawmap.errors import BundleError, FlawmapError, ImageError, OptionError
from flawmap.runtime.calibration import CalibrationSettings
from flawmap.runtime.certificate import Certificate
from flawmap.runtime.patch_scoring import PatchScoring
from flawmap.runtime.preprocess import Preprocessing
from flawmap.runtime.saved_arrays import check_arrays
from flawmap.runtime.saved_bytes import read_saved
from flawmap.runtime.saved_pieces import saved_pieces
from flawmap.runtime.saved_records import check_records
from flawmap.support.atomic import atomic_write
from flawmap.support.conversion import CONVERTER, describe_problems
from flawmap.support.system import is_out_of_memory

_FORMAT = 3
"""Format of the files that this flawmap writes and reads; raised with every change of it."""

METHOD_PREFIX = "method."
"""Begins the names of the arrays that hold a method's state."""

GRAPH_PREFIX = "graph."
"""Begins the names of the arrays that hold the graph."""

_KEY = "flawmap"
_NO_DIGEST = "0" * 64
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MOST_NESTED = 16
"""Objects and lists within each other in a manifest; flawmap writes half as many."""

_TYPES = {"BOOL", "U8", "I8", "U16", "I16", "F16", "U32", "I32", "F32", "U64", "I64", "F64"}
"""Types of arrays, as safetensors names them; NumPy has no others."""


@dataclass(frozen=True)
class Manifest:
    """What a saved file says about the inspector in it, beside the arrays.

    Args:
        version: of the flawmap that wrote the file.
        libraries: versions of the libraries it was written with, by name.
        method_name: name of the method, as the user chose it.
        method_class: name under which the method's class is registered.
        method_source: package or module that the class comes from; empty for flawmap itself.
        method_options: all options of the method, as `Method.options` returns them.
        changed_options: those that differ from the defaults of `method_name`, by dotted name.
        preprocessing: how images are made ready for the network.
        weights_sha256: fingerprint of the backbone's weights.
        fitted_images: number of good images that the method was fitted on.
        calibration: budget, groups and kind of the calibration; its scores are among the arrays.
        finetuning: record of the backbone's fine-tuning; None without one.
        tuning: record of how the settings were chosen for the part; None where they were given.
        no_graph_reason: why the file holds no graph; empty where it holds one.
        scorer_sha256: hash of all that determines scores; `save` computes it.
        patch_scoring: how the distances of patches make an image's score and map, with tiles or
            zones; None where the graph makes them, of the image in one piece.
        fitted_sha256: SHA-256 of every image file that the method was fitted to, that the backbone
            was fine-tuned on, or that set the threshold; in order, each once.

    Example:
        >>> from flawmap.runtime.calibration import Budget, CalibrationSettings
        >>> manifest = Manifest(
        ...     version="1.0",
        ...     libraries={},
        ...     method_name="patchcore",
        ...     method_class="PatchCore",
        ...     method_options={"precision": "f32"},
        ...     changed_options={},
        ...     preprocessing=Preprocessing(height=224, width=224),
        ...     weights_sha256="",
        ...     fitted_images=99,
        ...     calibration=CalibrationSettings(Budget(0.01)),
        ... )
        >>> manifest.precision
        'f32'
    """

    version: str
    libraries: dict[str, str]
    method_name: str
    method_class: str
    method_options: dict[str, Any]
    changed_options: dict[str, Any]
    preprocessing: Preprocessing
    weights_sha256: str
    fitted_images: int
    calibration: CalibrationSettings
    finetuning: dict[str, Any] | None = None
    tuning: dict[str, Any] | None = None
    method_source: str = ""
    no_graph_reason: str = ""
    scorer_sha256: str = ""
    patch_scoring: PatchScoring | None = None
    fitted_sha256: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.method_options.get("precision"), str):
            raise OptionError("method_options have no precision")
        check_records(self.finetuning, self.tuning)
        if not all(map(_DIGEST.fullmatch, self.fitted_sha256)):
            raise OptionError("fitted_sha256 holds something else than hashes")
        if self.preprocessing.joins_patches != (self.patch_scoring is not None):
            raise OptionError("tiles or zones, and patch_scoring, belong together")
        zones = self.preprocessing.zones
        if tuple(zone.name for zone in self.calibration.zones) != (zones.names if zones else ()):
            raise OptionError("zones and their budgets belong together")

    @property
    def precision(self) -> str:
        """What the encoder computed in when the method was fitted."""
        return str(self.method_options["precision"])

    def scorer_sha256_in(self, precision: str) -> str:
        """The scorer's hash where it runs in a precision.

        Args:
            precision: what the graph computes in.

        Returns:
            `scorer_sha256` in the precision of the fit, and another hash in any other.
        """
        if precision == self.precision:
            return self.scorer_sha256
        return hashlib.sha256(f"{self.scorer_sha256} {precision}".encode()).hexdigest()


class Bundle(NamedTuple):
    """What a saved file holds.

    Args:
        manifest: the typed settings.
        arrays: by name.
        sha256: the file's hash, as it is stored in the file.
    """

    manifest: Manifest
    arrays: dict[str, np.ndarray]
    sha256: str


def save(file: Path, manifest: Manifest, arrays: Mapping[str, np.ndarray]) -> Bundle:
    """Write a saved file; an old one stays until the new one is complete.

    The same content gives the same bytes. No copy of the arrays is made.

    Args:
        file: its path.
        manifest: the settings; its `scorer_sha256` is computed here.
        arrays: by name.

    Returns:
        What the file holds.

    Raises:
        WriteError: the file cannot be written.
    """
    manifest = replace(manifest, scorer_sha256=_scorer_digest(manifest, arrays))
    values = CONVERTER.unstructure(manifest)
    text = json.dumps({**values, "format": _FORMAT, "sha256": _NO_DIGEST}, sort_keys=True)
    header, bodies = saved_pieces(arrays, {_KEY: text})
    hashed = hashlib.sha256(header)
    for body in bodies:
        hashed.update(body)
    digest = hashed.hexdigest()
    with atomic_write(file) as stream:
        stream.write(header.replace(_NO_DIGEST.encode(), digest.encode(), 1))
        for body in bodies:
            stream.write(body)
    return Bundle(manifest, dict(arrays), digest)


def load(file: Path) -> Bundle:
    """Read a saved file and check every byte of it.

    Args:
        file: its path.

    Raises:
        BundleError: the file is missing, damaged, no saved inspector, or of another format.
    """
    data = read_saved(file)
    header, values = _read_metadata(data, file)
    _check_format(values.pop("format"), values.get("version", "?"), file)
    digest = values.pop("sha256")
    _check_digest(data, digest, file)
    _check_types(header, file)
    try:
        manifest, arrays = CONVERTER.structure(values, Manifest), load_arrays(data)
        _check_complete(manifest, arrays)
        return Bundle(manifest, arrays, digest)
    except BaseValidationError as error:
        raise _incomplete(file, describe_problems(error, "manifest")) from error
    except SafetensorError as error:
        raise BundleError(f"{file}: damaged ({error})") from error
    except BundleError as error:
        raise _incomplete(file, str(error)) from error


@contextmanager
def refusals_named(
    file: str | Path, refusal: str = "torch refuses the state in it"
) -> Iterator[None]:
    """Inside the `with` block, what a saved file lacks is a `BundleError` that names it.

    Args:
        file: path of the saved file.
        refusal: what is said where a library refuses the file; its reason is added.

    Example:
        >>> with refusals_named("part.flawmap"):
        ...     {}["scores"]
        Traceback (most recent call last):
        ...
        flawmap.errors.BundleError: part.flawmap: holds no complete inspector ('scores'); fit again
    """
    try:
        yield
    except BundleError as error:
        raise BundleError(f"{file}: {error}") from error
    except FlawmapError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise _incomplete(file, _one_line(error)) from error
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        reason = f"{refusal} ({_one_line(error)})"
        raise BundleError(f"{file}: {reason}; install the versions in it, or fit again") from error


def _incomplete(file: str | Path, problem: str) -> BundleError:
    return BundleError(f"{file}: holds no complete inspector ({problem}); fit again")


def _one_line(error: Exception) -> str:
    """What a library says of an error, without its traceback; the last line says it best."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].strip()[:300]


def _check_complete(manifest: Manifest, arrays: Mapping[str, np.ndarray]) -> None:
    preprocessing = manifest.preprocessing
    map_size = None if manifest.no_graph_reason else preprocessing.map_size
    zone_count = len(manifest.calibration.zones)
    check_arrays(arrays, len(manifest.calibration.groups), map_size=map_size, zones=zone_count)
    if map_size and preprocessing.mask:
        try:
            for image in Certificate.from_arrays(arrays).images:
                preprocessing.counting(*image.shape[:2])
        except ImageError as error:
            raise BundleError(f"the mask does not fit a golden image: {error}") from error


def _read_metadata(data: bytes, file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The header of a file, and the manifest in it."""
    # By hand, since the header must be read before the rest can be trusted: 8 bytes of length, then
    # JSON.
    try:
        (length,) = struct.unpack_from("<Q", data)
        if length > len(data) - 8:
            raise ValueError("the header is longer than the file")
        header = json.loads(data[8 : 8 + length])
        values = json.loads(header["__metadata__"][_KEY], object_pairs_hook=_to_dict)
        if _is_deeper(values, _MOST_NESTED):
            raise ValueError("the manifest is nested too deeply")
        if type(values["format"]) is not int or not _DIGEST.fullmatch(values["sha256"]):
            raise TypeError
    except (struct.error, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BundleError(f"{file}: damaged, or not a file that flawmap saved") from error
    return dict(header), dict(values)


def _to_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; readers do not agree which of two values of one name counts."""
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a name stands twice in the manifest")
    return values


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects in JSON are within each other more than so many times."""
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return not levels or any(_is_deeper(item, levels - 1) for item in inner)


def _check_types(header: dict[str, Any], file: Path) -> None:
    """That NumPy has the types of all arrays; safetensors itself checks shapes and places."""
    for name, entry in header.items():
        is_array = isinstance(entry, dict) and str(entry.get("dtype")) in _TYPES
        if name != "__metadata__" and not is_array:
            raise BundleError(f"{file}: damaged (the array {name!r} has no known type)")


def _check_format(written: int, version: str, file: Path) -> None:
    if written == _FORMAT:
        return
    remedy = "install a newer flawmap" if written > _FORMAT else "fit again"
    raise BundleError(
        f"{file}: written in format {written} by flawmap {version}, this one reads format "
        f"{_FORMAT}; {remedy}"
    )


def _check_digest(data: bytes, digest: str, file: Path) -> None:
    zeroed = data.replace(digest.encode(), _NO_DIGEST.encode(), 1)
    if hashlib.sha256(zeroed).hexdigest() != digest:
        raise BundleError(f"{file}: damaged, its hash does not match; copy it again or fit again")


def _scorer_digest(manifest: Manifest, arrays: Mapping[str, np.ndarray]) -> str:
    settings = {
        "method_class": manifest.method_class,
        "method_options": manifest.method_options,
        "preprocessing": CONVERTER.unstructure(manifest.preprocessing),
        "weights_sha256": manifest.weights_sha256,
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name in sorted(arrays):
        if name.startswith((METHOD_PREFIX, GRAPH_PREFIX)):
            array = np.asarray(arrays[name], order="C")
            digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
            digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
