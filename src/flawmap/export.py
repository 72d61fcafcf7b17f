"""Exports a saved inspector for other programs: a graph, and JSON with all that it takes to use it.

The graph goes from preprocessed images, any number of them, to scores and anomaly maps. The
threshold is in the JSON only, since it can be moved later. The graph is checked on the golden
images before it is handed out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from hashlib import sha256
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import openvino

from flawmap._version import __version__
from flawmap.data.layouts import good_training_samples
from flawmap.data.splits import sha256_of
from flawmap.engine.convert import (
    ExportedPrograms,
    export_programs,
    program_to_onnx,
    program_to_openvino,
)
from flawmap.engine.quantise import QUANTISATION_IMAGES, quantise
from flawmap.errors import DatasetError, NotExportable, OptionError
from flawmap.inspector import Inspector
from flawmap.methods.tiled_method import head_for
from flawmap.runtime import bundle
from flawmap.runtime.bundle import Manifest
from flawmap.runtime.certificate import TORCH_TOLERANCE, Certificate
from flawmap.runtime.description import describe_decision, describe_preprocessing
from flawmap.runtime.graph import GRAPH_INPUT, GRAPH_OUTPUTS, Graph, concat_graphs
from flawmap.runtime.images.decode import DecodedImage, decode_ahead
from flawmap.runtime.preprocess import Preprocessing
from flawmap.support.atomic import atomic_write
from flawmap.support.names import with_suffix
from flawmap.support.optional_deps import explain_import_error
from flawmap.support.progress import track
from flawmap.support.signals import hold_signals
from flawmap.support.tables import json_text
from flawmap.support.targets import check_file_target

ExportFormat = Literal["openvino", "onnx"]
"""`openvino` for an IR of two files, `onnx` for one file."""

_ExportPrecision = Literal["f32", "int8"]
"""What the encoder's graph computes in."""

_RunFunction = Callable[[np.ndarray], Sequence[np.ndarray]]  # preprocessed images to score and map

_Contents = dict[str, bytes]
"""The files of a graph by the suffixes of their names."""

_COMPILE_SETTINGS: dict[ExportFormat, dict[str, str]] = {
    "openvino": {"INFERENCE_PRECISION_HINT": "f32"},
    "onnx": {},
}
"""Settings without which the scores differ: OpenVINO computes in bf16 on CPUs that can."""

_SUFFIXES: dict[ExportFormat, tuple[str, ...]] = {"openvino": (".xml", ".bin"), "onnx": (".onnx",)}
"""End the names of the files of a graph."""

_DESCRIPTION = ".json"
"""Ends the name of the file that says how to use the graph."""

_TOLERANCE: dict[_ExportPrecision, float] = {"f32": TORCH_TOLERANCE, "int8": 0.15}
"""Largest accepted difference from the original, as a fraction of the largest value.

`flawmap evaluate` measures what int8 does to verdicts.
"""


class ExportResult(NamedTuple):
    """The files of an export, and how exact its graph is.

    Args:
        files: graph first, the JSON last.
        max_relative_difference: largest difference from the original on the golden images, as a
            fraction of the largest score or map value.
    """

    files: list[Path]
    max_relative_difference: float


def export(
    file: Path,
    folder: Path,
    export_format: ExportFormat = "openvino",
    precision: _ExportPrecision = "f32",
    quantisation_images: Path | None = None,
) -> ExportResult:
    """Write a saved inspector as a graph and a JSON file.

    Args:
        file: what `flawmap fit` wrote, fitted in f32 or bf16.
        folder: for the files, which are named as `file` is.
        export_format: `openvino` for an IR of two files, `onnx` for one file.
        precision: `int8` quantises the encoder by NNCF.
        quantisation_images: good images that the ranges of int8 are measured on: a folder, a data
            set or a manifest.

    Raises:
        BundleError: the file is damaged, no saved inspector, or of another format.
        NotExportable: no graph can hold the method.
        OptionError: int8 without good images, or a file that was fitted in int8.
        DatasetError: none of the good images can be used.
        MissingExtra: a package is not installed.
        ParityError: the graph scores otherwise than the original.
        WriteError: the folder cannot be written.
    """
    saved = bundle.load(file)
    _check_exportable(file, saved.manifest)
    stem = folder / file.stem
    for suffix in (*_SUFFIXES[export_format], _DESCRIPTION):
        check_file_target(with_suffix(stem, suffix))
    inspector = Inspector.load(file)
    preprocessing = inspector.preprocessing
    sample = _sample(quantisation_images, preprocessing) if precision == "int8" else []
    make_graph = {"openvino": _to_openvino, "onnx": _to_onnx}[export_format]
    contents, run = make_graph(inspector, sample)
    files = {with_suffix(stem, suffix): data for suffix, data in contents.items()}
    where = f"{file} as {export_format} in {precision}"
    certificate = Certificate.from_arrays(saved.arrays)
    difference = _check(certificate, preprocessing, run, precision, where)
    description = {
        "flawmap": __version__,
        "made_from": _describe_source(file, saved),
        "graph": _describe_graph(export_format, precision, files, preprocessing),
        "preprocessing": describe_preprocessing(preprocessing),
        "decision": describe_decision(
            inspector.calibration, preprocessing, saved.manifest.patch_scoring
        ),
        "checked": {
            "golden_images": len(certificate.images),
            "max_relative_difference": difference,
        },
    }
    files[with_suffix(stem, _DESCRIPTION)] = f"{json_text(description, indent=2)}\n".encode()
    _write(files)
    return ExportResult(list(files), difference)


def _check_exportable(file: Path, manifest: Manifest) -> None:
    if manifest.no_graph_reason:
        raise NotExportable(f"{file}: {manifest.no_graph_reason}")
    if manifest.precision == "int8":
        raise OptionError(
            f"{file}: fitted in int8, and its own graph is in it; fit in f32 and export in int8"
        )


def _export_programs(inspector: Inspector) -> ExportedPrograms:
    size = inspector.preprocessing.height, inspector.preprocessing.width
    head = head_for(inspector.method, inspector.preprocessing)
    return export_programs(inspector.method.encoder(), head, *size)


def _to_openvino(inspector: Inspector, sample: list[np.ndarray]) -> tuple[_Contents, _RunFunction]:
    programs = _export_programs(inspector)
    height, width = inspector.preprocessing.height, inspector.preprocessing.width
    encoder = program_to_openvino(programs.encoder, [[-1, 3, height, width]])
    if sample:
        encoder = quantise(encoder, sample)
    head = program_to_openvino(programs.head, programs.head_input_shapes)
    graph = concat_graphs(Graph(encoder), head)
    arrays = graph.to_arrays()
    xml, weights = arrays.values()
    contents = dict(zip(_SUFFIXES["openvino"], (xml.tobytes(), weights.tobytes()), strict=True))
    core = openvino.Core()
    model = core.read_model(xml.tobytes(), openvino.Tensor(weights))
    compiled = core.compile_model(model, "CPU", _COMPILE_SETTINGS["openvino"])
    return contents, lambda images: [compiled(images)[name] for name in GRAPH_OUTPUTS]


def _to_onnx(inspector: Inspector, sample: list[np.ndarray]) -> tuple[_Contents, _RunFunction]:
    try:
        import onnx.compose
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise explain_import_error(error) from error
    programs = _export_programs(inspector)
    outputs = [f"encoded{index}" for index in range(len(programs.head_input_shapes))]
    inputs = [f"{name}_in" for name in outputs]
    encoder = program_to_onnx(programs.encoder, [GRAPH_INPUT], outputs)
    if sample:
        encoder = quantise(encoder, sample, GRAPH_INPUT)
    head = program_to_onnx(programs.head, inputs, GRAPH_OUTPUTS)
    head = onnx.compose.add_prefix(head, "head_", rename_inputs=False, rename_outputs=False)
    pairs = list(zip(outputs, inputs, strict=True))
    model = onnx.compose.merge_models(encoder, head, pairs)
    data = model.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    contents = {".onnx": data}
    return contents, lambda images: session.run(list(GRAPH_OUTPUTS), {GRAPH_INPUT: images})


def _write(files: Mapping[Path, bytes]) -> None:
    """Write files that belong together: none takes its place before there is room for all."""
    with hold_signals(), ExitStack() as stack:
        for path, data in files.items():
            stream = stack.enter_context(atomic_write(path))
            stream.write(data)
            stream.flush()


def _sample(source: Path | None, preprocessing: Preprocessing) -> list[np.ndarray]:
    """Good images to measure ranges on; on noise a network's numbers are others."""
    if source is None:
        raise OptionError(
            "the ranges of int8 are measured on your own good images; name them with "
            "--quantisation-images FOLDER"
        )
    paths = [sample.path for sample in good_training_samples(source)][:QUANTISATION_IMAGES]
    loaded = track(decode_ahead(paths, preprocessing), "reading good images", len(paths))
    readable = (image.network_input for image in loaded if isinstance(image, DecodedImage))
    inputs = chain.from_iterable([one] if isinstance(one, np.ndarray) else one for one in readable)
    images = list(islice(inputs, QUANTISATION_IMAGES))
    if not images:
        raise DatasetError(f"{source}: none of the {len(paths)} images can be used")
    return images


def _check(
    certificate: Certificate,
    preprocessing: Preprocessing,
    run: _RunFunction,
    precision: _ExportPrecision,
    where: str,
) -> float:
    """Score the golden images in one batch and compare."""
    if precision == "int8":
        # The second is unlike any good image, and its numbers lie beyond the ranges of good ones.
        certificate = replace(certificate, images=certificate.images[:1])
    scores, maps = run(np.stack([preprocessing(image) for image in certificate.images]))
    scored = ((float(score), distances) for score, distances in zip(scores, maps, strict=True))
    return certificate.check(preprocessing, lambda _: next(scored), _TOLERANCE[precision], where)


def _describe_source(file: Path, saved: bundle.Bundle) -> dict[str, str]:
    return {
        "file": file.name,
        "sha256": sha256_of(file),
        "model_sha256": saved.sha256,
        "scorer_sha256": saved.manifest.scorer_sha256,
        "method": saved.manifest.method_name,
    }


def _describe_graph(
    export_format: ExportFormat,
    precision: _ExportPrecision,
    files: Mapping[Path, bytes],
    preprocessing: Preprocessing,
) -> dict[str, Any]:
    size = [preprocessing.height, preprocessing.width]
    map_size = preprocessing.map_size
    unit = "patch" if preprocessing.joins_patches else "pixel"
    return {
        "format": {"openvino": "OpenVINO IR", "onnx": "ONNX"}[export_format],
        "files": {path.name: sha256(data).hexdigest() for path, data in files.items()},
        "precision": precision,
        "compile_settings": _COMPILE_SETTINGS[export_format],
        "input": {"name": GRAPH_INPUT, "type": "float32", "shape": ["batch", 3, *size]},
        "outputs": {
            "score": _describe_output("how unlike good parts; a distance"),
            "anomaly_map": _describe_output(f"the same for each {unit} of the input", *map_size),
        },
    }


def _describe_output(meaning: str, *size: int) -> dict[str, Any]:
    return {"type": "float32", "shape": ["batch", *size], "meaning": meaning}
