"""A saved inspector for other people's programs: one graph, and beside it in JSON all that it takes to use it.

The graph goes from prepared pictures, any number of them, to raw scores and maps. The threshold is not in it: it can be
moved later. What the graph says is checked on the golden pictures before it is handed out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import openvino

import flawmap
from flawmap import bundle, engine
from flawmap.calibration import Budget, Calibration
from flawmap.certificate import FITTED, Certificate
from flawmap.data.layouts import good_to_fit
from flawmap.data.reading import Picture, read_ahead
from flawmap.data.splits import sha256_of
from flawmap.errors import DatasetError, NotExportable, OptionError
from flawmap.extras import explain
from flawmap.files import write_aside
from flawmap.graph import INPUT, OUTPUTS, Graph, join
from flawmap.inspector import Inspector
from flawmap.output import write_json
from flawmap.prepare import SUFFIXES, Preparation
from flawmap.progress import track

Target = Literal["openvino", "onnx"]
Precision = Literal["f32", "int8"]
Run = Callable[[np.ndarray], Sequence[np.ndarray]]
"""Prepared pictures (picture, 3, height, width) to scores and maps."""

BUDGETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
"""Shares of good parts whose thresholds stand in the JSON."""


QUANTISED = 0.15
"""How far int8 may be from the original, of the largest value; what that does to verdicts, `flawmap evaluate` says."""


class Exported(NamedTuple):
    """What an export left behind."""

    files: list[Path]
    apart: float
    """How far the graph was from the original on the golden pictures, of the largest value; the worst of all."""


def export(
    file: Path, folder: Path, to: Target = "openvino", precision: Precision = "f32", good: Path | None = None
) -> Exported:
    """Write a saved inspector as a graph and a JSON file.

    Args:
        file: what `flawmap fit` wrote, in f32.
        folder: for the files, which are named as `file` is.
        to: `openvino` for an IR of two files, `onnx` for one.
        precision: `int8` quantises the network, by how large its numbers get on good pictures (NNCF).
        good: those pictures; a folder, a data set or a manifest.

    Raises:
        NotExportable: no graph can hold the method.
        OptionError: int8 without good pictures, or a file that was fitted in int8.
        MissingExtra: a package is not installed.
        ParityError: the graph scores otherwise than the original.
    """
    manifest, arrays = bundle.load(file)
    if not Graph.is_in(arrays):
        raise NotExportable(f"{file}: {manifest.get('no graph', 'holds no graph')}")
    if (fitted := manifest["options"]["precision"]) == "int8":
        raise OptionError(f"{file}: fitted in {fitted}, and its own graph is in it; fit in f32 and export in int8")
    inspector, certificate = Inspector.load(file), Certificate.from_saved(arrays)
    preparation = inspector.preparation
    sample = _sample(good, preparation) if precision == "int8" else []
    written, run = _WAYS[to](inspector, folder / file.stem, sample)
    apart = _check(certificate, preparation, run, precision, f"{file} as {to} in {precision}")
    about = {
        "flawmap": flawmap.__version__,
        "made from": {"file": file.name, "SHA-256": sha256_of(file), "method": inspector.name},
        "graph": _describe_graph(to, precision, written, preparation),
        "preparation": _describe(preparation),
        "judging": _judging(inspector.calibration),
        "checked": {"golden pictures": len(certificate.pictures), "largest relative difference": apart},
    }
    beside = folder / f"{file.stem}.json"
    write_json(beside, about)
    return Exported([*written, beside], apart)


def _to_openvino(inspector: Inspector, stem: Path, sample: list[np.ndarray]) -> tuple[list[Path], Run]:
    height, width = inspector.preparation.height, inspector.preparation.width
    programs = inspector.method.export(height, width)
    encoder = engine.from_program(programs.encoder, [[-1, 3, height, width]])
    encoder = engine.quantise(encoder, sample) if sample else encoder
    graph = join(Graph(encoder), engine.from_program(programs.judge, programs.shapes))
    files = [stem.with_suffix(suffix) for suffix in (".xml", ".bin")]
    for path, data in zip(files, graph.to_saved().values(), strict=True):
        _write(path, data.tobytes())
    compiled = openvino.Core().compile_model(files[0], "CPU", COMPILED_WITH["openvino"])
    return files, lambda pictures: [compiled(pictures)[name] for name in OUTPUTS]


def _to_onnx(inspector: Inspector, stem: Path, sample: list[np.ndarray]) -> tuple[list[Path], Run]:
    try:
        import onnx.compose
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise explain(error) from error
    programs = inspector.method.export(inspector.preparation.height, inspector.preparation.width)
    between = [f"encoded{place}" for place in range(len(programs.shapes))]
    encoder = engine.to_onnx(programs.encoder, [INPUT], between)
    judge = engine.to_onnx(programs.judge, [f"{name}_in" for name in between], OUTPUTS)
    encoder = engine.quantise(encoder, sample, INPUT) if sample else encoder
    judge = onnx.compose.add_prefix(judge, "judge_", rename_inputs=False, rename_outputs=False)
    model = onnx.compose.merge_models(encoder, judge, [(name, f"{name}_in") for name in between])
    file = stem.with_suffix(".onnx")
    _write(file, model.SerializeToString())
    session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    return [file], lambda pictures: session.run(list(OUTPUTS), {INPUT: pictures})


COMPILED_WITH: dict[Target, dict[str, str]] = {"openvino": {"INFERENCE_PRECISION_HINT": "f32"}, "onnx": {}}
"""Settings without which scores come out otherwise: OpenVINO computes in bf16, unasked, on CPUs that can."""

_WAYS: dict[Target, Callable[[Inspector, Path, list[np.ndarray]], tuple[list[Path], Run]]] = {
    "openvino": _to_openvino,
    "onnx": _to_onnx,
}


def _write(path: Path, data: bytes) -> None:
    with write_aside(path) as stream:
        stream.write(data)


def _sample(good: Path | None, preparation: Preparation) -> list[np.ndarray]:
    """Prepare good pictures to quantise by: never noise, on which a network's numbers are others."""
    if good is None:
        raise OptionError("int8 is scaled by your own good pictures; name them with --good FOLDER")
    paths = [sample.path for sample in good_to_fit(good)][: engine.SAMPLE]
    loaded = track(read_ahead(paths, preparation), "reading good pictures", len(paths))
    pictures = [one.prepared for one in loaded if isinstance(one, Picture)]
    if not pictures:
        raise DatasetError(f"{good}: none of the {len(paths)} pictures can be used")
    return pictures


def _check(certificate: Certificate, preparation: Preparation, run: Run, precision: Precision, where: str) -> float:
    """Compare with the golden pictures, all in one batch."""
    if precision == "int8":
        # The other one is like no good picture, and its numbers lie beyond the scale that good ones gave.
        certificate = replace(certificate, pictures=certificate.pictures[:1])
    scores, maps = run(np.stack([preparation(picture) for picture in certificate.pictures]))
    found = ((float(score), distances) for score, distances in zip(scores, maps, strict=True))
    return certificate.check(preparation, lambda _: next(found), FITTED if precision == "f32" else QUANTISED, where)


def _describe_graph(to: Target, precision: Precision, files: list[Path], preparation: Preparation) -> dict[str, Any]:
    size = [preparation.height, preparation.width]
    return {
        "format": {"openvino": "OpenVINO IR", "onnx": "ONNX"}[to],
        "files": {file.name: sha256_of(file) for file in files},
        "precision": precision,
        "compile with": COMPILED_WITH[to],
        "input": {"name": INPUT, "type": "float32", "shape": ["pictures", 3, *size]},
        "outputs": {
            "score": {"type": "float32", "shape": ["pictures"], "meaning": "how unlike good parts; a distance"},
            "map": {"type": "float32", "shape": ["pictures", *size], "meaning": "the same for each pixel of the input"},
        },
    }


def _describe(preparation: Preparation) -> dict[str, Any]:
    return {
        "pictures": {"formats": sorted(SUFFIXES), "channels": "grey, RGB, RGBA (alpha is dropped)", "bits": [8, 16]},
        "steps": [
            "decode; turn upright by the EXIF orientation; grey to three equal channels; channels in RGB order",
            f"resize to {preparation.width} × {preparation.height} pixels (width × height), the whole picture: an axis "
            "that shrinks by area averages (OpenCV INTER_AREA), then one that grows linearly (INTER_LINEAR)",
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
    budgets = [replace(calibration, budget=Budget(share)) for share in BUDGETS]
    return {
        "threshold": calibration.threshold,
        "rule": "a part is rejected where its score exceeds the threshold",
        "false rejects": calibration.budget.false_rejects,
        "confidence": calibration.budget.confidence,
        "thresholds": {f"{one.budget.false_rejects:g}": one.threshold for one in budgets},
        "map limit": calibration.limit,
        "map rule": "map / map limit is 1 at the most that good parts show; resize it to the picture as above",
        "scores of good parts": sorted(calibration.scores.tolist()),
        "p-value rule": "(1 + how many scores of good parts are at least as large) / (1 + how many there are)",
    }
