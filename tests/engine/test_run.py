from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from flawmap.engine import run as engine
from flawmap.engine.convert import FlatEncoder, to_openvino
from flawmap.errors import NotExportable
from flawmap.methods import make_method
from flawmap.runtime.graph import Graph, GraphRunner, concat_graphs
from flawmap.support.progress import listen
from flawmap.support.tensors import Images
from helpers import TINY

IMAGES = torch.randn(5, 3, 64, 96, generator=torch.Generator().manual_seed(0))


class Odd(nn.Module):
    """What no front end can hold."""

    def forward(self, images: Images) -> list[torch.Tensor]:
        return [torch.linalg.eigvals(images[:, 0, :8, :8]).real]


def test_openvino_says_what_torch_says() -> None:
    encoder = FlatEncoder(make_method("patchcore", **TINY).encoder()).eval()
    fast = engine.OpenVINOEngine(encoder, "a key of its own", "f32")(IMAGES)
    slow = engine.TorchEngine(encoder, "f32")(IMAGES)
    assert [scores.shape for scores in fast] == [scores.shape for scores in slow]
    for scores, other in zip(fast, slow, strict=True):
        assert (scores - other).abs().max() < 1e-4 * other.abs().max()


def test_a_batch_is_as_good_as_one_by_one() -> None:
    run = engine.OpenVINOEngine(
        FlatEncoder(make_method("patchcore", **TINY).encoder()).eval(), "a key of its own", "f32"
    )
    assert torch.equal(run(IMAGES)[0], torch.cat([run(image[None])[0] for image in IMAGES]))


def test_an_encoder_is_converted_once() -> None:
    encoder = FlatEncoder(make_method("patchcore", **TINY).encoder()).eval()
    first, again = (
        engine.OpenVINOEngine(encoder, "a key of its own", "f32").graph(64, 96) for _ in range(2)
    )
    assert first is again
    assert engine.OpenVINOEngine(encoder, "another key", "f32").graph(64, 96) is not first


def test_what_openvino_cannot_hold_runs_in_torch_and_is_said() -> None:
    heard: list[object] = []
    run = engine.OpenVINOEngine(Odd(), "odd", "f32")
    with listen(lambda *_: None, heard.append):
        encoded = run(IMAGES)
    assert torch.equal(encoded[0], Odd()(IMAGES)[0])
    assert "torch runs it, which takes longer" in str(heard[0])
    with pytest.raises(NotExportable, match=r"OpenVINO cannot hold it|torch cannot trace"):
        run.graph(64, 96)


def test_a_graph_comes_back_from_arrays() -> None:
    class Twice(nn.Module):
        def forward(self, images: Images) -> list[torch.Tensor]:
            return [2 * images.mean(dim=1)]

    class Head(nn.Module):
        def forward(self, grey: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return grey.amax(dim=(1, 2)), grey

    front = Graph(to_openvino(Twice(), IMAGES[:1]))
    graph = concat_graphs(front, to_openvino(Head(), torch.zeros(1, 64, 96)))
    again = Graph.from_arrays(graph.to_arrays())
    arrays = IMAGES.numpy()
    for ahead in (False, True):
        results = list(GraphRunner(again, throughput=ahead).run_many(arrays))
        expected = 2 * arrays.mean(axis=1)
        assert np.allclose(
            [result.outputs[0][0] for result in results], expected.max(axis=(1, 2)), atol=1e-6
        )
        assert np.allclose([result.outputs[1][0] for result in results], expected, atol=1e-6)
    assert [output.get_any_name() for output in again.model.outputs] == ["score", "anomaly_map"]
