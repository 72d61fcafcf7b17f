"""The saved file: a manifest and arrays in one safetensors file, under one hash.

No pickle, so loading runs no code.

The manifest is JSON in the file's metadata. It holds the SHA-256 of the whole file, taken with 64
zeros in its place, so that any changed byte is noticed.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from flawmap.errors import BundleError
from flawmap.support.atomic import atomic_write

FORMAT = 2
"""Raised whenever an older flawmap could not read what this one writes."""

KEY = "flawmap"
"""The entry of the metadata that holds the manifest."""

_NO_DIGEST = "0" * 64


class Bundle(NamedTuple):
    """What a saved file holds."""

    manifest: dict[str, Any]
    arrays: dict[str, np.ndarray]


def save(file: Path, manifest: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write a saved file; the old one stands until the new one is complete.

    The same content gives the same bytes.

    Raises:
        WriteError: it cannot be written.
    """
    text = json.dumps({**manifest, "format": FORMAT, "sha256": _NO_DIGEST}, sort_keys=True)
    data = save_arrays(
        {name: np.asarray(array, order="C") for name, array in arrays.items()}, {KEY: text}
    )
    digest = hashlib.sha256(data).hexdigest()
    with atomic_write(file) as stream:
        stream.write(data.replace(_NO_DIGEST.encode(), digest.encode(), 1))


def load(file: Path) -> Bundle:
    """Read a saved file and check every byte of it.

    Raises:
        BundleError: missing, damaged, not a saved inspector, or from a newer flawmap.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise BundleError(f"{file}: cannot be read ({error.strerror})") from error
    manifest = _read_manifest(data, file)
    if manifest["format"] > FORMAT:
        raise BundleError(
            f"{file}: written in format {manifest['format']} by flawmap "
            f"{manifest.get('version', '?')}, this one reads "
            f"up to format {FORMAT}; install a newer flawmap"
        )
    digest = str(manifest["sha256"])
    if hashlib.sha256(data.replace(digest.encode(), _NO_DIGEST.encode(), 1)).hexdigest() != digest:
        raise BundleError(f"{file}: damaged, its hash does not match; copy it again or fit again")
    try:
        return Bundle(manifest, load_arrays(data))
    except SafetensorError as error:
        raise BundleError(f"{file}: damaged ({error})") from error


def _read_manifest(data: bytes, file: Path) -> dict[str, Any]:
    # By hand, since the header must be read before the rest can be trusted: 8 bytes of length, then
    # JSON.
    try:
        (length,) = struct.unpack_from("<Q", data)
        manifest = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][KEY])
        if not isinstance(manifest["format"], int) or len(manifest["sha256"]) != len(_NO_DIGEST):
            raise TypeError
    except (struct.error, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{file}: damaged, or not a file that flawmap saved") from error
    return dict(manifest)
