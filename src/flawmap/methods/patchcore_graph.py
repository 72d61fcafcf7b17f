"""PatchCore's graph: encoder, search in the bank, and what makes scores of the distances."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import openvino
import torch
from torch import Tensor, nn

from flawmap.engine.convert import to_openvino
from flawmap.methods.patchcore_head import PatchCoreHead
from flawmap.runtime.graph import Graph, concat_graphs
from flawmap.runtime.replaceable_search import add_replaceable_search
from flawmap.support.tensors import Embedded, Maps, Patches, PerImage


class _Queries(nn.Module):
    """The flat tensors of `Embedded` to what is compared with the bank."""

    def __init__(self, head: PatchCoreHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, *encoded: Tensor) -> Patches:
        return self.head.queries(Embedded.unflatten(encoded))


class _Rest(nn.Module):
    """Distances, and the flat tensors of `Embedded`, to scores and anomaly maps."""

    def __init__(self, head: PatchCoreHead, height: int, width: int) -> None:
        super().__init__()
        self.head = head
        self.size = (height, width)

    def forward(self, distances: Tensor, *encoded: Tensor) -> tuple[PerImage, Maps]:
        embedded = Embedded.unflatten(encoded)
        image, pixel = self.head.scores_by_distance(embedded, distances, *self.size)
        return image, pixel


def append_searching_head(front: Graph, head: PatchCoreHead, height: int, width: int) -> Graph:
    """An encoder's graph with a head behind it, whose bank can be replaced without torch.

    Args:
        front: graph of the encoder, whose outputs are the flat tensors of `Embedded`.
        head: its image score needs nothing of the bank but distances; a copy is converted.
        height: height of the image in pixels.
        width: width of the image in pixels.

    Raises:
        NotExportable: OpenVINO cannot hold the head.
    """
    head = deepcopy(head).eval().cpu()
    encoded = [torch.zeros(list(output.shape)) for output in front.model.outputs]
    before = to_openvino(_Queries(head), *encoded)
    (queries,) = before.get_results()
    patches = torch.zeros(queries.get_output_shape(0)[0])
    after = to_openvino(_Rest(head, height, width), patches, *encoded)
    bank = head.bank.vectors.float().numpy().astype(np.float32)
    distances = add_replaceable_search(queries.input_value(0), bank)
    first, *others = after.get_parameters()
    _connect(distances, first)
    for parameter, same in zip(before.get_parameters(), others, strict=True):
        _connect(parameter.output(0), same)
    model = openvino.Model(after.get_results(), before.get_parameters(), "head")
    return concat_graphs(front, model)


def _connect(source: openvino.Output, parameter: openvino.Node) -> None:
    for target in parameter.output(0).get_target_inputs():
        target.replace_source_output(source)
