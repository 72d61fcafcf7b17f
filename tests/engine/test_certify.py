from __future__ import annotations

import pytest
import torch
from torch import nn

from flawmap import Inspector
from flawmap.engine.certify import issue_certificate
from flawmap.engine.convert import append_head
from flawmap.errors import ParityError
from flawmap.runtime.certificate import golden_images
from flawmap.support.tensors import Scores
from helpers import TINY, texture


class _Doubled(nn.Module):
    def __init__(self, scoring_module: nn.Module) -> None:
        super().__init__()
        self.scoring_module = scoring_module

    def forward(self, images: torch.Tensor) -> Scores:
        scores = self.scoring_module(images)
        return Scores(2 * scores.image, scores.pixel)


def test_the_graph_must_score_as_torch_does() -> None:
    inspector = Inspector(size=64, **TINY).fit([texture(seed) for seed in range(3)])
    preprocessing = inspector.preprocessing
    golden = golden_images(texture(0), preprocessing)
    module = inspector.method.scoring_module()
    encoder_graph = inspector.method.encoder_runner.graph(64, 64)
    graph = append_head(encoder_graph, inspector.method.exportable_head(), 64, 64)
    certificate = issue_certificate(module, graph, golden, preprocessing, "f32")
    expected = [
        float(inspector.method.score(torch.from_numpy(preprocessing(image)[None])).image[0])
        for image in certificate.images
    ]
    assert certificate.scores == pytest.approx(expected, rel=1e-4)
    with pytest.raises(ParityError, match="the graph just made"):
        issue_certificate(_Doubled(module), graph, golden, preprocessing, "f32")
