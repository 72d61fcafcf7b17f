"""Runs a network on this machine as fast as it can: OpenVINO on a CPU, torch on a GPU.

Measured on two cores at 224×224, to layer 3: EfficientNet-Lite0 29 ms a picture in torch, 3.4 in OpenVINO; ResNet-18 19
and 13. Converting takes seconds, so a graph is kept for as long as the process lives: the next method with the same
encoder, or the saved file, finds it made.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import openvino
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from flawmap import graph
from flawmap.errors import NotExportable
from flawmap.extras import explain_import_error
from flawmap.graph import Graph, GraphRunner, Precision
from flawmap.progress import emit
from flawmap.tensors import Images

Engine = Callable[[Images], list[Tensor]]
"""Encodes a batch; gives tensors on the CPU, a picture's along the first axis."""

QUANTISATION_IMAGES = 300
"""Good pictures by which a network is quantised; NNCF's own default."""


def make_engine(encoder: nn.Module, key: str, precision: Precision, images: Iterable[Tensor]) -> Engine:
    """Make an encoder ready.

    Args:
        encoder: pictures to a list of tensors.
        key: says all that tells it from other encoders, its weights too.
        precision: what it computes in. Int8 is for CPUs, and so runs on one beside a GPU too.
        pictures: good ones, prepared, by which it is quantised in int8.
    """
    if torch.cuda.is_available() and precision != "int8":
        return TorchEngine(encoder, precision)
    return OpenVINOEngine(encoder.cpu(), key, graph.supported_precision(precision), images)


FLOAT_OPS = (
    *("AvgPool", "Interpolate", "MatMul", "Concat"),
    *("AveragePool", "Resize", "Gemm"),
)
"""Operations, of OpenVINO and of ONNX, that come behind the convolutions: they take little time."""


FLOAT_CONVS = 2
"""Convolutions at the front that are not quantised."""


class TorchEngine:
    """Runs an encoder in torch, where it is."""

    def __init__(self, encoder: nn.Module, precision: Precision) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.encoder, self.reduced = encoder.eval().to(self.device), precision == "bf16"

    def __call__(self, images: Images) -> list[Tensor]:
        """Encode a batch."""
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.reduced):
            return [tensor.float().cpu() for tensor in self.encoder(images.to(self.device))]


class OpenVINOEngine:
    """Runs an encoder in OpenVINO; in torch if that cannot, and says so.

    Args:
        encoder: pictures to a list of tensors.
        key: says all that tells it from other encoders.
        precision: what it computes in.
        pictures: good ones, by which it is quantised in int8.
    """

    def __init__(self, encoder: nn.Module, key: str, precision: Precision, images: Iterable[Tensor] = ()) -> None:
        self.encoder, self.key, self.precision = encoder, key, precision
        self.sample = [image.numpy() for image in islice(images, QUANTISATION_IMAGES)] if precision == "int8" else []
        self._graphs: dict[tuple[int, int], Graph] = {}
        self._engines: dict[tuple[int, int], Engine] = {}

    def __call__(self, images: Images) -> list[Tensor]:
        """Encode a batch."""
        size = images.shape[-2], images.shape[-1]
        if size not in self._engines:
            self._engines[size] = self._start(*size)
        return self._engines[size](images)

    def graph(self, height: int, width: int) -> Graph:
        """Give the encoder for pictures of this size as a graph; made once.

        Raises:
            NotExportable: OpenVINO cannot hold it.
        """
        size = height, width
        if size not in self._graphs:
            made = _converted(_Keyed(self.encoder, self.key), *size)
            self._graphs[size] = Graph(quantise(made.model, self.sample)) if self.precision == "int8" else made
        return self._graphs[size]

    def _start(self, height: int, width: int) -> Engine:
        try:
            runner = GraphRunner(self.graph(height, width), self.precision, throughput=True)
        except NotExportable as error:
            if self.precision == "int8":
                raise
            emit(f"{error}; torch runs it, which takes longer")
            return TorchEngine(self.encoder, "f32")

        def run(images: Images) -> list[Tensor]:
            encoded = (done.outputs for done in runner.run_many(images.numpy()))
            return [torch.from_numpy(np.concatenate(arrays)) for arrays in zip(*encoded, strict=True)]

        return run


def append_head(front: Graph, head: nn.Module, encoded: list[Tensor], height: int, width: int) -> Graph:
    """Put a judge behind an encoder's graph; both are one graph then.

    Args:
        front: of the encoder.
        judge: what compares.
        encoded: what the encoder gives of any one picture.
        height: of the pictures.
        width: of the pictures.

    Raises:
        NotExportable: OpenVINO cannot hold it.
    """
    return graph.concat_graphs(front, to_openvino(FixedSizeHead(head, height, width), *encoded))


def to_openvino(module: nn.Module, *examples: Tensor) -> openvino.Model:
    """Convert a module to OpenVINO, for tensors of the examples' shapes.

    Raises:
        NotExportable: OpenVINO lacks an operation, or torch cannot trace the module.
    """
    try:
        with _quiet(), torch.no_grad():
            program = torch.export.export(module, examples)
    except RuntimeError as error:
        raise NotExportable(f"torch cannot trace {type(module).__name__}: {_last_line(error)}") from error
    return program_to_openvino(program, [list(example.shape) for example in examples])


def program_to_openvino(program: ExportedProgram, shapes: list[list[int]]) -> openvino.Model:
    """Convert what torch exported; the shapes of its inputs may have a −1 for any number.

    Raises:
        NotExportable: OpenVINO lacks an operation.
    """
    # Not through openvino.convert_model, which reports each use to its makers over the network.
    from openvino._offline_transformations import apply_moc_transformations
    from openvino.frontend import FrontEndManager, OpConversionFailure
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder

    front_end = FrontEndManager().load_by_framework("pytorch")
    try:
        with _quiet(), torch.no_grad():
            decoder = TorchFXPythonDecoder.from_exported_program(program)
            model = front_end.convert(front_end.load(decoder))
    except (RuntimeError, OpConversionFailure) as error:
        raise NotExportable(f"OpenVINO cannot hold it: {_last_line(error)}") from error
    model.reshape(dict(enumerate(shapes)))
    # Folds batch normalisation into convolutions, as openvino.convert_model does: quantised beside them it goes wrong.
    apply_moc_transformations(model, cf=False, smart_reshape=False)
    return model


class ExportedPrograms(NamedTuple):
    """A scorer as torch exports it: two programs, so that the first can be quantised by itself."""

    encoder: ExportedProgram
    head: ExportedProgram
    """Takes what the encoder gives."""
    head_input_shapes: list[list[int]]
    """Of the judge's inputs; −1 is the number of pictures."""


def export_programs(encoder: nn.Module, head: nn.Module, height: int, width: int) -> ExportedPrograms:
    """Export a scorer for any number of pictures of one size."""
    batch = torch.export.Dim("batch")
    images = torch.zeros(2, 3, height, width)
    with torch.no_grad():
        encoded = tuple(encoder(images))
        look = torch.export.export(encoder, (images,), dynamic_shapes=({0: batch},))
        dynamic = (tuple({0: batch} for _ in encoded),)
        compare = torch.export.export(FixedSizeHead(head, height, width), encoded, dynamic_shapes=dynamic)
    return ExportedPrograms(look, compare, [[-1, *one.shape[1:]] for one in encoded])


def program_to_onnx(program: ExportedProgram, inputs: Sequence[str], outputs: Sequence[str]) -> Any:
    """Convert what torch exported to an ONNX model, with these names of its inputs and outputs.

    Raises:
        NotExportable: ONNX lacks an operation.
    """
    try:
        with _quiet(), torch.no_grad():
            made = torch.onnx.export(
                program, input_names=inputs, output_names=outputs, dynamo=True, verbose=False, external_data=False
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise NotExportable(f"ONNX cannot hold it: {_last_line(error)}") from error
    return made.model_proto  # type: ignore[union-attr]


def quantise(model: Any, images: list[np.ndarray], name: str | None = None) -> Any:
    """Turn a model's numbers to eight bits, scaled by how large they get on these pictures (NNCF, post-training).

    Args:
        model: of OpenVINO or ONNX.
        pictures: good ones, prepared.
        name: of the input, for ONNX.

    Raises:
        MissingExtra: NNCF is not installed.
    """
    # Else it reports each use to its makers over the network.
    os.environ["NNCF_CI"] = "1"
    try:
        import nncf
    except ImportError as error:
        raise explain_import_error(error) from error
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    sample = [image[None] for image in images]
    # Weights of seven bits: a CPU without VNNI adds products in 16 bits, and with eight they overflow there. Ranges up
    # to the largest number ever seen: NNCF's default, a mean of largest numbers, cuts off what is unlike good parts.
    with _quiet():
        return nncf.quantize(
            model,
            nncf.Dataset([{name: one} for one in sample] if name else sample),
            preset=nncf.QuantizationPreset.MIXED,
            fast_bias_correction=False,
            ignored_scope=nncf.IgnoredScope(
                list(_first_convolutions(model)), types=list(FLOAT_OPS), validate=False
            ),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                overflow_fix=nncf.OverflowFix.ENABLE,
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
            ),
        )


def _first_convolutions(model: Any) -> list[str]:
    """Name those that keep their floats: few channels carry all there is, and most of the error comes from them."""
    operations = (
        ((one.get_friendly_name(), one.get_type_name()) for one in model.get_ordered_ops())
        if isinstance(model, openvino.Model)
        else ((one.name, one.op_type) for one in model.graph.node)
    )
    found = (name for name, kind in operations if kind in ("Convolution", "GroupConvolution", "Conv"))
    return list(islice(found, FLOAT_CONVS))


class FixedSizeHead(nn.Module):
    """A judge of pictures of one size: what the encoder gives in, scores and maps out."""

    def __init__(self, head: nn.Module, height: int, width: int) -> None:
        super().__init__()
        self.head, self.size = head, (height, width)

    def forward(self, *encoded: Tensor) -> tuple[Tensor, Tensor]:
        """Judge a batch."""
        image, pixel = self.head(list(encoded), *self.size)
        return image, pixel


class _Keyed:
    """A module that is told from others by its key, so that what was made of it is found again."""

    def __init__(self, module: nn.Module, key: str) -> None:
        self.module, self.key = module, key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Keyed) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


@lru_cache(maxsize=8)
def _converted(encoder: _Keyed, height: int, width: int) -> Graph:
    return Graph(to_openvino(encoder.module, torch.zeros(1, 3, height, width)))


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what torch and OpenVINO say of each other's age."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
