"""Time the search in a saved file's bank, plain as before and in eight bits, and what is around it.

    python bench/search.py part.flawmap IMAGES

IMAGES is a folder of images of the part. Every part of the graph is run alone, one image at a time,
on what the parts before it made of these images; the least of many times counts, so that another
program on the machine does little harm. The last column is the largest relative difference of a
patch's distance from a float64 oracle.
"""

from __future__ import annotations

import argparse
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import torch
from openvino import opset13 as ops

import flawmap
from flawmap.engine.convert import append_head, to_openvino
from flawmap.memory.neighbours import nearest
from flawmap.methods.patchcore_graph import append_searching_head
from flawmap.methods.patchcore_head import PatchCoreHead
from flawmap.runtime.graph import Graph
from flawmap.runtime.images.decode import decode
from flawmap.runtime.replaceable_search import QUERIES
from flawmap.runtime.search import add_search


class Plain(torch.nn.Module):
    """The search that torch traces."""

    def __init__(self, vectors: torch.Tensor) -> None:
        super().__init__()
        self.vectors: torch.Tensor
        self.register_buffer("vectors", vectors)

    def forward(self, queries: torch.Tensor) -> torch.Tensor:
        return nearest(queries, self.vectors).distances


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--count", type=int, default=10, help="images")
    parser.add_argument("--repeats", type=int, default=30, help="runs of each image")
    asked = parser.parse_args()
    inspector = flawmap.Inspector.load(asked.file)
    files = islice(sorted(path for path in asked.images.rglob("*.*")), asked.count)
    images = [inspector.preprocessing(decode(path))[None] for path in files]
    height, width = images[0].shape[-2:]
    head = inspector.method.exportable_head()
    assert isinstance(head, PatchCoreHead), "a relative of PatchCore"
    front = inspector.method.encoder_runner.graph(height, width)
    old = append_head(front, head, height, width)
    new = append_searching_head(front, head, height, width)
    bank = head.bank.vectors.float().cpu()
    queries = _queries(new, images)
    print(f"{queries[0].shape[0]} patches, bank of {bank.shape[0]} × {bank.shape[1]}")
    print("| precision | part | before, ms | now, ms | difference from float64 |")
    print("|---|---|---|---|---|")
    searches = to_openvino(Plain(bank), torch.from_numpy(queries[0])), _search(queries[0], bank)
    for precision in ("f32", "bf16"):
        whole = [_time(graph.model, images, precision, asked.repeats) for graph in (old, new)]
        network = _time(_until_queries(new), images, precision, asked.repeats)
        search = [_time(model, queries, precision, asked.repeats) for model in searches]
        wrong = [_difference(model, queries, bank.numpy(), precision) for model in searches]
        rest = [total - network - part for total, part in zip(whole, search, strict=True)]
        print(f"| {precision} | network to patch vectors | {network:.1f} | {network:.1f} | |")
        differences = f"{wrong[0]:.0e}, {wrong[1]:.0e}"
        print(f"| {precision} | search | {search[0]:.1f} | {search[1]:.1f} | {differences} |")
        print(f"| {precision} | map, score, the rest | {rest[0]:.1f} | {rest[1]:.1f} | |")
        print(f"| {precision} | whole graph | {whole[0]:.1f} | {whole[1]:.1f} | |", flush=True)


def _search(queries: np.ndarray, bank: torch.Tensor) -> openvino.Model:
    node = ops.parameter(list(queries.shape), np.float32)
    return openvino.Model([add_search(node.output(0), bank.numpy())], [node])


def _until_queries(graph: Graph) -> openvino.Model:
    model = graph.model.clone()
    (last,) = (node for node in model.get_ops() if node.get_friendly_name() == QUERIES)
    return openvino.Model([last.output(0)], model.get_parameters())


def _queries(graph: Graph, images: list[np.ndarray]) -> list[np.ndarray]:
    compiled = _compile(_until_queries(graph), "f32")
    return [compiled(image)[0].copy() for image in images]


def _compile(model: openvino.Model, precision: str) -> Any:
    settings = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    return openvino.Core().compile_model(model, "CPU", settings)


def _time(model: openvino.Model, inputs: list[np.ndarray], precision: str, repeats: int) -> float:
    """The mean over the inputs of the least time of each, in milliseconds."""
    request = _compile(model, precision).create_infer_request()
    least = [np.inf] * len(inputs)
    for _ in range(repeats):
        for index, value in enumerate(inputs):
            started = time.perf_counter()
            request.infer([value], share_inputs=True, share_outputs=True)
            least[index] = min(least[index], time.perf_counter() - started)
    return 1000 * float(np.mean(least))


def _difference(
    model: openvino.Model, queries: list[np.ndarray], bank: np.ndarray, precision: str
) -> float:
    compiled = _compile(model, precision)
    largest = 0.0
    for query in queries:
        exact = np.concatenate(
            [
                np.sqrt(np.square(rows[:, None] - bank.astype(np.float64)).sum(2).min(1))
                for rows in np.array_split(query, 40)
            ]
        )
        largest = max(largest, float(np.abs(compiled(query)[0] / exact - 1).max()))
    return largest


if __name__ == "__main__":
    main()
