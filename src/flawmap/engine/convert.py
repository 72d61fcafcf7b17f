"""Torch modules to OpenVINO and ONNX."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import openvino
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from flawmap.errors import NotExportable
from flawmap.runtime import graph
from flawmap.runtime.graph import Graph


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


class FixedSizeHead(nn.Module):
    """A judge of pictures of one size: what the encoder gives in, scores and maps out."""

    def __init__(self, head: nn.Module, height: int, width: int) -> None:
        super().__init__()
        self.head, self.size = head, (height, width)

    def forward(self, *encoded: Tensor) -> tuple[Tensor, Tensor]:
        """Judge a batch."""
        image, pixel = self.head(list(encoded), *self.size)
        return image, pixel


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
