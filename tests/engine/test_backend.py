from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import numpy as np
import torch

from flawmap.engine.backend import TorchBackend
from flawmap.support.tensors import Images, Scores

IMAGES = [np.full((3, 8, 8), level, np.float32) for level in range(24)]


def test_each_image_gets_its_own_score_in_order() -> None:
    backend = TorchBackend(lambda images: Scores(images.amax((1, 2, 3)), 2 * images[:, 0]))
    scored = list(backend.score_many(iter(IMAGES), throughput=True))
    assert [image.score for image in scored] == list(range(24))
    assert all(np.all(image.distances == 2 * image.score) for image in scored)


def test_one_thread_computes_at_a_time() -> None:
    computing = Lock()
    collisions = []

    def score(images: Images) -> Scores:
        if not computing.acquire(blocking=False):
            collisions.append(images)
            return Scores(torch.zeros(1), images[:, 0])
        time.sleep(0.001)
        computing.release()
        return Scores(images.amax((1, 2, 3)), images[:, 0])

    backend = TorchBackend(score)

    def run(image: np.ndarray) -> float:
        return next(backend.score_many([image], throughput=False)).score

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(run, IMAGES)) == list(range(24))
    assert not collisions


def test_the_time_is_that_of_the_score() -> None:
    def slow(images: Images) -> Scores:
        time.sleep(0.02)
        return Scores(images.amax((1, 2, 3)), images[:, 0])

    scored = next(TorchBackend(slow).score_many(IMAGES[:1], throughput=False))
    assert 20 <= scored.inference_ms < 20_000
