"""A saved inspector for 64 × 64 pixels that is made without torch, for tests of the runtime.

    python tests/small_bundle.py FILE

writes it.
"""

from __future__ import annotations

import hashlib
import struct
import sys
from pathlib import Path

import numpy as np
import openvino
from openvino import opset13 as ops

from flawmap.runtime import bundle
from flawmap.runtime.backend import GraphBackend
from flawmap.runtime.bundle import Manifest
from flawmap.runtime.calibration import Budget, Calibration
from flawmap.runtime.certificate import Certificate, golden_images
from flawmap.runtime.graph import Graph, concat_graphs
from flawmap.runtime.preprocess import Preprocessing
from flawmap.runtime.replaceable_search import add_replaceable_search
from flawmap.runtime.search import floats, integers
from helpers import texture

SIDE = 64
PREPROCESSING = Preprocessing(SIDE, SIDE)
_CHANNELS = 8
_PATCH = 8
_PATCHES = SIDE // _PATCH
_VECTORS = 1100  # enough for the search by eight bits, whose branches are graphs in the graph


def save_small_bundle(file: Path, budget: float = 0.05) -> Path:
    """Write the inspector: a convolution, and the distance to the nearest of a bank's vectors."""
    graph = concat_graphs(Graph(_encoder()), _head())
    backend = GraphBackend(graph, "f32")
    scored = [backend.score(PREPROCESSING(texture(seed, SIDE, SIDE))) for seed in range(20)]
    scores = np.array([score for score, _ in scored])
    peaks = np.array([float(distances.max()) for _, distances in scored])
    calibration = Calibration(scores, peaks, Budget(budget))
    golden = golden_images(texture(0), PREPROCESSING)
    certificate = Certificate.issue(golden, PREPROCESSING, backend.score)
    manifest = Manifest(
        version="0.1.0",
        libraries={"openvino": "2026.0"},
        method_name="small",
        method_class="Small",
        method_options={"precision": "f32"},
        changed_options={},
        preprocessing=PREPROCESSING,
        weights_sha256="",
        fitted_images=20,
        calibration=calibration.settings,
    )
    arrays = graph.to_arrays() | calibration.to_arrays() | certificate.to_arrays()
    bank = {"method.bank.vectors": _bank()}
    bundle.save(file, manifest, arrays | bank)
    return file


def with_right_hash(data: bytes) -> bytes:
    """The bytes of a saved file whose hash is made right again, where it can still be found."""
    try:
        (length,) = struct.unpack_from("<Q", data)
        header = data[8 : 8 + min(length, 1 << 20)]
        place = 8 + header.index(b'\\"sha256\\": \\"') + len(b'\\"sha256\\": \\"')
    except (struct.error, ValueError):
        return data
    zeroed = data[:place] + b"0" * 64 + data[place + 64 :]
    digest = hashlib.sha256(zeroed).hexdigest().encode()
    return data[:place] + digest + data[place + 64 :]


def _bank() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1, (_VECTORS, _CHANNELS)).astype(np.float32)


def _encoder() -> openvino.Model:
    image = ops.parameter([1, 3, SIDE, SIDE], np.float32)
    kernels = (
        np.random.default_rng(1).normal(0, 0.02, (_CHANNELS, 3, _PATCH, _PATCH)).astype(np.float32)
    )
    features = ops.convolution(image, floats(kernels), [_PATCH, _PATCH], [0, 0], [0, 0], [1, 1])
    return openvino.Model([ops.relu(features)], [image])


def _head() -> openvino.Model:
    features = ops.parameter([1, _CHANNELS, _PATCHES, _PATCHES], np.float32)
    last = ops.transpose(features, integers(0, 2, 3, 1))
    queries = ops.reshape(last, integers(_PATCHES**2, _CHANNELS), False)
    distances = add_replaceable_search(queries.output(0), _bank())
    score = ops.reduce_max(distances, integers(0), True)
    square = ops.reshape(distances, integers(1, 1, _PATCHES, _PATCHES), False)
    large = ops.tile(ops.unsqueeze(ops.unsqueeze(square, integers(3)), integers(5)), _tiles())
    whole = ops.reshape(large, integers(1, SIDE, SIDE), False)
    return openvino.Model([score, whole], [features])


def _tiles() -> openvino.Output:
    return integers(1, 1, 1, _PATCH, 1, _PATCH)


if __name__ == "__main__":
    save_small_bundle(Path(sys.argv[1]))
