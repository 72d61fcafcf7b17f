"""What a saved file holds of a method: its state, and its graph with a certificate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
import torch

from flawmap._version import __version__
from flawmap.engine.certify import issue_certificate
from flawmap.engine.convert import append_head
from flawmap.errors import BundleError, NotExportable, ParityError
from flawmap.methods import METHODS, make_method
from flawmap.methods.base import Method
from flawmap.methods.patchcore_graph import append_searching_head
from flawmap.methods.patchcore_head import PatchCoreHead
from flawmap.methods.tiled_method import head_for, patch_scoring_of
from flawmap.runtime.bundle import GRAPH_PREFIX, METHOD_PREFIX, Manifest
from flawmap.runtime.calibration import CalibrationSettings
from flawmap.runtime.graph import Graph
from flawmap.runtime.image_types import ImageArray
from flawmap.runtime.preprocess import Preprocessing
from flawmap.support.flat import changes
from flawmap.support.progress import report_progress

_MAKING = "making the graph"
"""The stage in words; its steps are made, checked and written."""

_GOLDEN_PREFIX = "golden."
"""Begins the names of the arrays that hold the golden images and their scores."""


class SavedGraph(NamedTuple):
    """The graph of a method, from image to score and anomaly map, with its certificate.

    Args:
        arrays: arrays of the graph and of the golden images by name; empty where there is no graph.
        missing_reason: why there is no graph; empty where there is one.
    """

    arrays: dict[str, np.ndarray]
    missing_reason: str = ""


def make_graph(
    method: Method, golden: Sequence[ImageArray], preprocessing: Preprocessing
) -> SavedGraph:
    """The graph of a method with its certificate, or why there is none.

    A method that no graph can hold, or whose graph scores otherwise than torch, is not lost: its
    `notes` say what that means for the file.

    Args:
        method: the fitted method.
        golden: images to certify it with.
        preprocessing: how images are made ready for the graph.

    Raises:
        NotFitted: the method is not fitted yet.
    """
    try:
        return SavedGraph(_certified_graph(method, golden, preprocessing))
    except (NotExportable, ParityError) as error:
        method.notes.append(f"{error}. The file needs flawmap[fit] wherever it is used.")
        return SavedGraph({}, str(error))


def make_manifest(
    method: Method,
    name: str,
    *,
    preprocessing: Preprocessing,
    fitted_images: int,
    calibration: CalibrationSettings,
    finetuning: dict[str, Any] | None = None,
    no_graph_reason: str = "",
    file_hashes: Iterable[str] = (),
) -> Manifest:
    """The manifest of a fitted method.

    Args:
        method: the fitted method.
        name: name of the method, as the user chose it.
        preprocessing: how images are made ready for the network.
        fitted_images: number of good images that the method was fitted to.
        calibration: budget, groups and kind of the calibration.
        finetuning: record of the backbone's fine-tuning; None without one.
        no_graph_reason: why the file holds no graph; empty where it holds one.
        file_hashes: SHA-256 of all image files that were learned from or calibrated with.
    """
    options = method.options()
    usual = make_method(name) if name in METHODS else type(method)()
    method_class, method_source = METHODS.name_of(type(method))
    patch_scoring = None
    if preprocessing.joins_patches:
        is_tiled = preprocessing.tile_overlap is not None
        patch_scoring = patch_scoring_of(method, is_tiled=is_tiled)
    return Manifest(
        version=__version__,
        libraries={library: version(library) for library in ("openvino", "torch")},
        method_name=name,
        method_class=method_class,
        method_source=method_source,
        method_options=options,
        changed_options=changes(options, usual.options()),
        preprocessing=preprocessing,
        weights_sha256=method.feature_extractor.fingerprint(),
        fitted_images=fitted_images,
        calibration=calibration,
        finetuning=finetuning,
        no_graph_reason=no_graph_reason,
        patch_scoring=patch_scoring,
        fitted_sha256=tuple(sorted(set(file_hashes))),
    )


def saved_graph(manifest: Manifest, arrays: Mapping[str, np.ndarray]) -> SavedGraph:
    """The graph that a saved file holds.

    Args:
        manifest: the manifest of the file.
        arrays: the arrays of the file.
    """
    prefixes = GRAPH_PREFIX, _GOLDEN_PREFIX
    kept = {name: array for name, array in arrays.items() if name.startswith(prefixes)}
    return SavedGraph(kept, manifest.no_graph_reason)


def method_to_arrays(method: Method) -> dict[str, np.ndarray]:
    """The state of a fitted method, by the names that it has in a saved file.

    Args:
        method: the fitted method.

    Raises:
        NotFitted: the method is not fitted yet.
    """
    state = method.state_dict()
    return {METHOD_PREFIX + name: tensor.numpy() for name, tensor in state.items()}


def method_from_arrays(manifest: Manifest, arrays: Mapping[str, np.ndarray]) -> Method:
    """The fitted method that a saved file holds.

    Args:
        manifest: the manifest of the file.
        arrays: the arrays of the file.

    Raises:
        OptionError: the method is not registered here, or an option cannot work.
        WeightsMismatch: what was fitted belongs to other weights than those in the file.
    """
    entry = METHODS.from_source(manifest.method_class, manifest.method_source)
    method = METHODS.class_of(entry).from_options(manifest.method_options)
    state = {
        name.removeprefix(METHOD_PREFIX): torch.from_numpy(array)
        for name, array in arrays.items()
        if name.startswith(METHOD_PREFIX)
    }
    return method.load_state_dict(state)


def _certified_graph(
    method: Method, golden: Sequence[ImageArray], preprocessing: Preprocessing
) -> dict[str, np.ndarray]:
    height = preprocessing.height
    width = preprocessing.width
    report_progress(_MAKING, 0, 3)
    head = head_for(method, preprocessing)
    front = method.encoder_runner.graph(height, width)
    method.encoder_runner.release()  # what is compiled next takes its place
    if isinstance(head, PatchCoreHead) and head.bank_is_replaceable:
        graph = append_searching_head(front, head, height, width)
    else:
        graph = append_head(front, head, height, width)
    report_progress(_MAKING, 1, 3)
    module = method.scoring_module(head)
    certificate = issue_certificate(module, graph, golden, preprocessing, method.precision)
    report_progress(_MAKING, 2, 3)
    arrays = graph.to_arrays()
    try:
        Graph.from_arrays(arrays)
    except BundleError as error:
        raise NotExportable(f"a saved file cannot hold it: {error}") from error
    report_progress(_MAKING, 3, 3)
    return arrays | certificate.to_arrays()
