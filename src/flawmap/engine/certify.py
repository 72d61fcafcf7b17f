"""A certificate of a graph: golden images with the scores that every machine must reproduce."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from flawmap.engine.run import best_device
from flawmap.runtime.backend import GraphBackend
from flawmap.runtime.certificate import TORCH_TOLERANCE, Certificate
from flawmap.runtime.graph import Graph, Precision
from flawmap.runtime.image_types import ImageArray, Preprocessed
from flawmap.runtime.preprocess import Preprocessing
from flawmap.runtime.verdict import Heatmap


def issue_certificate(
    scoring_module: nn.Module,
    graph: Graph,
    golden: Sequence[ImageArray],
    preprocessing: Preprocessing,
    precision: Precision,
) -> Certificate:
    """Issue the certificate of a graph, after checking the graph against torch.

    Args:
        scoring_module: what the graph was made of: images in, image scores and anomaly maps out.
        graph: of one image at a time.
        golden: the images of the certificate.
        preprocessing: of the graph's input.
        precision: what the graph computes in. Torch does not compute in int8, so the scores that
            other machines must reproduce are then the graph's own.

    Returns:
        These images, with their scores and maps.

    Raises:
        ParityError: the graph scores otherwise than torch.
    """
    if precision == "int8":
        in_int8 = GraphBackend(graph, "int8").score
        return Certificate.issue(golden, preprocessing, in_int8)

    def in_torch(image: Preprocessed) -> tuple[float, Heatmap]:
        with torch.inference_mode():
            scores = scoring_module(torch.from_numpy(image[None]).to(best_device()))
        return float(scores.image[0]), scores.pixel[0].cpu().numpy()

    certificate = Certificate.issue(golden, preprocessing, in_torch)
    in_graph = GraphBackend(graph, "f32").score
    certificate.check(preprocessing, in_graph, TORCH_TOLERANCE, "the graph just made")
    return certificate
