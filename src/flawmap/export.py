"""A saved inspector for other people's programs.

One graph, and beside it in JSON all that it takes to use it.

The graph goes from prepared images, any number of them, to raw scores and maps. The threshold is
not in it: it can be moved later. What the graph says is checked on the golden images before it is
handed out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import openvino

from flawmap._version import __version__
from flawmap.data.layouts import good_training_samples
from flawmap.data.splits import sha256_of
from flawmap.engine.convert import export_programs, program_to_onnx, program_to_openvino
from flawmap.engine.quantise import QUANTISATION_IMAGES, quantise
from flawmap.errors import DatasetError, NotExportable, OptionError
from flawmap.inspector import Inspector
from flawmap.runtime import bundle
from flawmap.runtime.calibration import Budget, Calibration
from flawmap.runtime.certificate import TORCH_TOLERANCE, Certificate
from flawmap.runtime.decode import SUFFIXES, DecodedImage, decode_ahead
from flawmap.runtime.graph import GRAPH_INPUT, GRAPH_OUTPUTS, Graph, concat_graphs
from flawmap.runtime.preprocess import Preprocessing
from flawmap.support.atomic import atomic_write
from flawmap.support.optional_deps import explain_import_error
from flawmap.support.progress import track
from flawmap.support.tables import write_json

ExportFormat = Literal["openvino", "onnx"]
ExportPrecision = Literal["f32", "int8"]
RunFunction = Callable[[np.ndarray], Sequence[np.ndarray]]
"""Prepared images (image, 3, height, width) to scores and maps."""

EXPORTED_BUDGETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
"""Shares of good parts whose thresholds stand in the JSON."""


INT8_TOLERANCE = 0.15
"""How far int8 may be from the original, of the largest value.

What that does to verdicts, `flawmap evaluate` says.
"""


class ExportResult(NamedTuple):
    """What an export left behind."""

    files: list[Path]
    max_relative_difference: float
    """How far the graph was from the original on the golden images, of the largest value.

    The worst of all.
    """


def export(
    file: Path,
    folder: Path,
    to: ExportFormat = "openvino",
    precision: ExportPrecision = "f32",
    good: Path | None = None,
) -> ExportResult:
    """Write a saved inspector as a graph and a JSON file.

    Args:
        file: what `flawmap fit` wrote, in f32.
        folder: for the files, which are named as `file` is.
        to: `openvino` for an IR of two files, `onnx` for one.
        precision: `int8` quantises the network, by how large its numbers get on good images (NNCF).
        good: those images; a folder, a data set or a manifest.

    Raises:
        NotExportable: no graph can hold the method.
        OptionError: int8 without good images, or a file that was fitted in int8.
        MissingExtra: a package is not installed.
        ParityError: the graph scores otherwise than the original.
    """
    manifest, arrays, sha256 = bundle.load(file)
    if manifest.no_graph_reason:
        raise NotExportable(f"{file}: {manifest.no_graph_reason}")
    if manifest.precision == "int8":
        raise OptionError(
            f"{file}: fitted in int8, and its own graph is in it; fit in f32 and export in int8"
        )
    inspector, certificate = Inspector.load(file), Certificate.from_arrays(arrays)
    preparation = inspector.preprocessing
    sample = _sample(good, preparation) if precision == "int8" else []
    written, run = _WAYS[to](inspector, folder / file.stem, sample)
    apart = _check(certificate, preparation, run, precision, f"{file} as {to} in {precision}")
    about = {
        "flawmap": __version__,
        "made_from": {
            "file": file.name,
            "sha256": sha256_of(file),
            "model_sha256": sha256,
            "scorer_sha256": manifest.scorer_sha256,
            "method": inspector.name,
        },
        "graph": _describe_graph(to, precision, written, preparation),
        "preprocessing": _describe(preparation),
        "decision": _judging(inspector.calibration),
        "checked": {"golden_images": len(certificate.images), "max_relative_difference": apart},
    }
    beside = folder / f"{file.stem}.json"
    write_json(beside, about)
    return ExportResult([*written, beside], apart)


def _to_openvino(
    inspector: Inspector, stem: Path, sample: list[np.ndarray]
) -> tuple[list[Path], RunFunction]:
    height, width = inspector.preprocessing.height, inspector.preprocessing.width
    programs = export_programs(
        inspector.method.encoder(), inspector.method.exportable_head(), height, width
    )
    encoder = program_to_openvino(programs.encoder, [[-1, 3, height, width]])
    encoder = quantise(encoder, sample) if sample else encoder
    graph = concat_graphs(
        Graph(encoder), program_to_openvino(programs.head, programs.head_input_shapes)
    )
    files = [stem.with_suffix(suffix) for suffix in (".xml", ".bin")]
    for path, data in zip(files, graph.to_arrays().values(), strict=True):
        _write(path, data.tobytes())
    compiled = openvino.Core().compile_model(files[0], "CPU", COMPILED_WITH["openvino"])
    return files, lambda images: [compiled(images)[name] for name in GRAPH_OUTPUTS]


def _to_onnx(
    inspector: Inspector, stem: Path, sample: list[np.ndarray]
) -> tuple[list[Path], RunFunction]:
    try:
        import onnx.compose
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise explain_import_error(error) from error
    height, width = inspector.preprocessing.height, inspector.preprocessing.width
    programs = export_programs(
        inspector.method.encoder(), inspector.method.exportable_head(), height, width
    )
    between = [f"encoded{place}" for place in range(len(programs.head_input_shapes))]
    encoder = program_to_onnx(programs.encoder, [GRAPH_INPUT], between)
    judge = program_to_onnx(programs.head, [f"{name}_in" for name in between], GRAPH_OUTPUTS)
    encoder = quantise(encoder, sample, GRAPH_INPUT) if sample else encoder
    judge = onnx.compose.add_prefix(judge, "judge_", rename_inputs=False, rename_outputs=False)
    model = onnx.compose.merge_models(encoder, judge, [(name, f"{name}_in") for name in between])
    file = stem.with_suffix(".onnx")
    _write(file, model.SerializeToString())
    session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    return [file], lambda images: session.run(list(GRAPH_OUTPUTS), {GRAPH_INPUT: images})


COMPILED_WITH: dict[ExportFormat, dict[str, str]] = {
    "openvino": {"INFERENCE_PRECISION_HINT": "f32"},
    "onnx": {},
}
"""Settings without which scores come out otherwise.

OpenVINO computes in bf16, unasked, on CPUs that can.
"""

_WAYS: dict[
    ExportFormat, Callable[[Inspector, Path, list[np.ndarray]], tuple[list[Path], RunFunction]]
] = {
    "openvino": _to_openvino,
    "onnx": _to_onnx,
}


def _write(path: Path, data: bytes) -> None:
    with atomic_write(path) as stream:
        stream.write(data)


def _sample(good: Path | None, preparation: Preprocessing) -> list[np.ndarray]:
    """Prepare good images to quantise by: never noise, on which a network's numbers are others."""
    if good is None:
        raise OptionError("int8 is scaled by your own good images; name them with --good FOLDER")
    paths = [sample.path for sample in good_training_samples(good)][:QUANTISATION_IMAGES]
    loaded = track(decode_ahead(paths, preparation), "reading good images", len(paths))
    images = [one.preprocessed for one in loaded if isinstance(one, DecodedImage)]
    if not images:
        raise DatasetError(f"{good}: none of the {len(paths)} images can be used")
    return images


def _check(
    certificate: Certificate,
    preparation: Preprocessing,
    run: RunFunction,
    precision: ExportPrecision,
    where: str,
) -> float:
    """Compare with the golden images, all in one batch."""
    if precision == "int8":
        # The other one is like no good image, and its numbers lie beyond the scale that good ones
        # gave.
        certificate = replace(certificate, images=certificate.images[:1])
    scores, maps = run(np.stack([preparation(image) for image in certificate.images]))
    found = ((float(score), distances) for score, distances in zip(scores, maps, strict=True))
    return certificate.check(
        preparation,
        lambda _: next(found),
        TORCH_TOLERANCE if precision == "f32" else INT8_TOLERANCE,
        where,
    )


def _describe_graph(
    to: ExportFormat, precision: ExportPrecision, files: list[Path], preparation: Preprocessing
) -> dict[str, Any]:
    size = [preparation.height, preparation.width]
    return {
        "format": {"openvino": "OpenVINO IR", "onnx": "ONNX"}[to],
        "files": {file.name: sha256_of(file) for file in files},
        "precision": precision,
        "compile_settings": COMPILED_WITH[to],
        "input": {"name": GRAPH_INPUT, "type": "float32", "shape": ["batch", 3, *size]},
        "outputs": {
            "score": {
                "type": "float32",
                "shape": ["batch"],
                "meaning": "how unlike good parts; a distance",
            },
            "anomaly_map": {
                "type": "float32",
                "shape": ["batch", *size],
                "meaning": "the same for each pixel of the input",
            },
        },
    }


def _describe(preparation: Preprocessing) -> dict[str, Any]:
    return {
        "images": {
            "formats": sorted(SUFFIXES),
            "channels": "grey, RGB, RGBA (alpha is dropped)",
            "bits": [8, 16],
        },
        "steps": [
            "decode; turn upright by the EXIF orientation; grey to three equal channels; "
            "channels in RGB order",
            f"resize to {preparation.width} × {preparation.height} pixels (width × height), the "
            f"whole image: an axis "
            "that shrinks by area averages (OpenCV INTER_AREA), then one that grows linearly "
            "(INTER_LINEAR)",
            "divide by white: 255, or 65535 for 16 bits",
            "subtract mean, divide by std, channel by channel",
            "channels first, float32",
        ],
        "height": preparation.height,
        "width": preparation.width,
        "mean": preparation.mean,
        "std": preparation.std,
    }


def _judging(calibration: Calibration) -> dict[str, Any]:
    budgets = [replace(calibration, budget=Budget(share)) for share in EXPORTED_BUDGETS]
    return {
        "threshold": calibration.threshold,
        "rule": "a part is rejected where its score exceeds the threshold",
        "false rejects": calibration.budget.false_rejects,
        "confidence": calibration.budget.confidence,
        "thresholds": {f"{one.budget.false_rejects:g}": one.threshold for one in budgets},
        "map_limit": calibration.map_limit,
        "map_rule": "anomaly_map / map_limit is 1 at the most that good parts show; resize it to "
        "the image as above",
        "good_scores": sorted(calibration.scores.tolist()),
        "p_value_rule": "(1 + how many scores of good parts are at least as large) / (1 + how "
        "many there are)",
    }
