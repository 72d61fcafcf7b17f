"""Conversion of torch modules to OpenVINO and ONNX."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, NamedTuple

import openvino
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from flawmap.errors import NotExportable
from flawmap.runtime.graph import Graph, concat_graphs
from flawmap.support.tensors import Embedded, Images, Maps, PerImage


class FlatEncoder(nn.Module):
    """An encoder that returns the tensors of `Embedded` one after another, as a graph has them.

    Args:
        encoder: images to `Embedded`.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Images) -> tuple[Tensor, ...]:
        """The maps of a batch, then its transforms.

        Args:
            images: (batch, 3, height, width), preprocessed.
        """
        embedded: Embedded = self.encoder(images)
        return tuple(embedded.flatten())


class FixedSizeHead(nn.Module):
    """A head for images of one size, with the flat outputs of an encoder's graph as its inputs.

    Args:
        head: `Embedded`, height and width to `Scores`.
        height: height of the images in pixels.
        width: width of the images in pixels.
    """

    def __init__(self, head: nn.Module, height: int, width: int) -> None:
        super().__init__()
        self.head = head
        self.size = (height, width)

    def forward(self, *encoded: Tensor) -> tuple[PerImage, Maps]:
        """Scores and anomaly maps of a batch.

        Args:
            encoded: the outputs of `FlatEncoder`.
        """
        image, pixel = self.head(Embedded.unflatten(encoded), *self.size)
        return image, pixel


class ExportedPrograms(NamedTuple):
    """Encoder and head as torch exports them: two programs, for only the first is quantised.

    Args:
        encoder: images to the flat tensors of `Embedded`.
        head: those tensors to scores and anomaly maps.
        head_input_shapes: shapes of the head's inputs; -1 stands for the number of images.
    """

    encoder: ExportedProgram
    head: ExportedProgram
    head_input_shapes: list[list[int]]


def export_programs(
    encoder: nn.Module, head: nn.Module, height: int, width: int
) -> ExportedPrograms:
    """Encoder and head as torch exports them, for any number of images of one size.

    Args:
        encoder: images to `Embedded`; it stays where it is, a copy is exported.
        head: `Embedded`, height and width to `Scores`; likewise.
        height: height of the images in pixels.
        width: width of the images in pixels.
    """
    flat_encoder = FlatEncoder(_cpu_copy(encoder))
    fixed_head = FixedSizeHead(_cpu_copy(head), height, width)
    batch = {0: torch.export.Dim("batch")}
    images = torch.zeros(2, 3, height, width)
    with torch.no_grad():
        encoded = flat_encoder(images)
        first = torch.export.export(flat_encoder, (images,), dynamic_shapes=(batch,))
        dynamic = (tuple(batch for _ in encoded),)
        second = torch.export.export(fixed_head, encoded, dynamic_shapes=dynamic)
    return ExportedPrograms(first, second, [[-1, *tensor.shape[1:]] for tensor in encoded])


def append_head(front: Graph, head: nn.Module, height: int, width: int) -> Graph:
    """An encoder's graph with a head behind it: from an image to its score and anomaly map.

    Args:
        front: graph of the encoder, whose outputs are the flat tensors of `Embedded`.
        head: `Embedded`, height and width to `Scores`; it stays where it is, a copy is converted.
        height: height of the image in pixels.
        width: width of the image in pixels.

    Raises:
        NotExportable: OpenVINO cannot hold the head.
    """
    encoded = [torch.zeros(list(output.shape)) for output in front.model.outputs]
    fixed_head = FixedSizeHead(_cpu_copy(head), height, width)
    return concat_graphs(front, to_openvino(fixed_head, *encoded))


def to_openvino(module: nn.Module, *examples: Tensor) -> openvino.Model:
    """A module as an OpenVINO model, for tensors of the examples' shapes.

    Args:
        module: tensors to tensors.
        examples: one tensor for each input; only their shapes and types count.

    Raises:
        NotExportable: OpenVINO lacks an operation, or torch cannot trace the module.

    Example:
        >>> model = to_openvino(torch.nn.ReLU(), torch.zeros(1, 3))
        >>> [list(output.shape) for output in model.outputs]
        [[1, 3]]
    """
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(module, examples)
    except RuntimeError as error:
        message = f"torch cannot trace {type(module).__name__}: {_last_line(error)}"
        raise NotExportable(message) from error
    return program_to_openvino(program, [list(example.shape) for example in examples])


def program_to_openvino(program: ExportedProgram, shapes: list[list[int]]) -> openvino.Model:
    """A program that torch exported, as an OpenVINO model.

    Args:
        program: from `torch.export`.
        shapes: shape of each input; -1 stands for any number.

    Raises:
        NotExportable: OpenVINO lacks an operation.
    """
    # Not by openvino.convert_model, which reports each use to its makers over the network.
    from openvino._offline_transformations import apply_moc_transformations
    from openvino.frontend import FrontEndManager, OpConversionFailure
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder

    front_end = FrontEndManager().load_by_framework("pytorch")
    try:
        with quiet(), torch.no_grad():
            decoder = TorchFXPythonDecoder.from_exported_program(program)
            model = front_end.convert(front_end.load(decoder))
    except (RuntimeError, OpConversionFailure) as error:
        raise NotExportable(f"OpenVINO cannot hold it: {_last_line(error)}") from error
    model.reshape(dict(enumerate(shapes)))
    # Folds batch normalisation into convolutions, as openvino.convert_model does: quantised
    # beside them it goes wrong.
    apply_moc_transformations(model, cf=False, smart_reshape=False)
    return model


def program_to_onnx(program: ExportedProgram, inputs: Sequence[str], outputs: Sequence[str]) -> Any:
    """A program that torch exported, as an ONNX model.

    Args:
        program: from `torch.export`.
        inputs: names that the model's inputs get.
        outputs: names that the model's outputs get.

    Raises:
        NotExportable: ONNX lacks an operation.
    """
    try:
        with quiet(), torch.no_grad():
            exported = torch.onnx.export(
                program,
                input_names=inputs,
                output_names=outputs,
                dynamo=True,
                verbose=False,
                external_data=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise NotExportable(f"ONNX cannot hold it: {_last_line(error)}") from error
    return exported.model_proto  # type: ignore[union-attr]


def _cpu_copy(module: nn.Module) -> nn.Module:
    """A copy on the CPU, for evaluation; on a GPU the method still needs its own there."""
    return deepcopy(module).eval().cpu()


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress what torch and OpenVINO log about each other's version, in the `with` block."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
