"""SPADE's search: the nearest of all places of 50 images, by least numbers first and by `nearest`
in each image.

    python bench/spade.py

Random vectors of the sizes of three layers at 224 px; both in turn, the quickest of three, on one
core."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from flawmap.memory.neighbours import distance_to_nearest, nearest

IMAGES = 50
LAYERS = {
    "tf_efficientnet_lite0": ((3136, 24), (784, 40), (196, 112)),
    "resnet18": ((3136, 64), (784, 128), (196, 256)),
}


def main() -> None:
    torch.set_num_threads(1)
    for name, layers in LAYERS.items():
        queries = [torch.rand(shape) for shape in layers]
        images = [[torch.rand(shape) for _ in range(IMAGES)] for shape in layers]
        both: dict[Callable[[Tensor, list[Tensor]], Tensor], list[float]] = {
            in_each: [],
            distance_to_nearest: [],
        }
        for _ in range(3):
            for search, seconds in both.items():
                started = time.perf_counter()
                for query, others in zip(queries, images, strict=True):
                    search(query, others)
                seconds.append(time.perf_counter() - started)
        slow, quick = (min(seconds) for seconds in both.values())
        print(
            f"{name}: {1000 * slow:.0f} ms in each image, {1000 * quick:.0f} ms by least "
            f"numbers, {quick / slow:.2f}"
        )


def in_each(queries: Tensor, images: list[Tensor]) -> Tensor:
    return torch.stack([nearest(queries, image).distances for image in images]).amin(dim=0)


if __name__ == "__main__":
    main()
