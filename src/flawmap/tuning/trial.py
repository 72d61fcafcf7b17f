"""One fit of a tuning: settings that differ in their image scores alone, tried together."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from flawmap.engine.run import best_device
from flawmap.inspector import Inspector
from flawmap.memory.threads import single_threaded
from flawmap.methods.base import Method
from flawmap.methods.head import Head
from flawmap.runtime.image_types import ImageInput
from flawmap.runtime.images.decode import decode
from flawmap.runtime.preprocess import Preprocessing
from flawmap.support.progress import track
from flawmap.support.tensors import Images
from flawmap.synthetic.probes import Probe
from flawmap.tuning.candidates import IMAGE_SCORE, Candidate
from flawmap.tuning.measures import ProbeScores
from flawmap.tuning.probing import ProbeSet, Version

_BATCH_SIZE = 4

_TIMED_IMAGES = 20


class Tried(NamedTuple):
    """What came of settings.

    Args:
        candidate: the settings.
        preprocessing: of the network's input.
        scores: of held-out good images, with and without painted defects.
        image_ms: time from an image to its verdict in milliseconds, one at a time and with one of
            torch's threads; the shortest of some, since other programs only make it longer.
    """

    candidate: Candidate
    preprocessing: Preprocessing
    scores: ProbeScores
    image_ms: float


def try_together(
    method: Method,
    candidates: Sequence[Candidate],
    images: Sequence[ImageInput],
    probe_set: ProbeSet,
) -> list[Tried]:
    """Fit once, and score all images by each candidate's image score.

    Args:
        method: with the options that stay as they are; it is not changed.
        candidates: settings that share a fit, as `by_fit` groups them.
        images: good images to fit to, three or more.
        probe_set: other good images, and what is painted on them.

    Raises:
        OptionError: settings that cannot be.
        DatasetError: too few images can be read.
    """
    variants = [candidate.apply_to(replace(method)) for candidate in candidates]
    # One image is held out, which is cheaper than a score of each without it.
    inspector = Inspector(
        variants[0],
        size=candidates[0].size,
        calibration_fraction=1 / len(images),
        white=probe_set.white,
    ).fit(images)
    heads = [_head_of(inspector.method, variant) for variant in variants]
    preprocessing = inspector.preprocessing
    rows: list[Tensor] = []
    labels: list[tuple[int, Probe | None]] = []
    # Threads that wait for each other would make times depend on what else the machine does.
    with single_threaded():
        for versions in _in_batches(probe_set):
            inputs = np.stack([preprocessing(version.image) for version in versions])
            rows.append(_score(inspector.method, heads, torch.from_numpy(inputs)))
            labels += [(version.source, version.probe) for version in versions]
        image_ms = _time_images(inspector, probe_set.images[:_TIMED_IMAGES])
    sources = np.array([source for source, _ in labels])
    probes = [probe for _, probe in labels]
    return [
        Tried(candidate, preprocessing, ProbeScores(scores, sources, probes), image_ms)
        for candidate, scores in zip(candidates, torch.cat(rows).T.numpy(), strict=True)
    ]


def _head_of(fitted: Method, variant: Method) -> Head:
    """The fitted method's head, with the image score of a variant."""
    if hasattr(variant, IMAGE_SCORE):
        setattr(fitted, IMAGE_SCORE, getattr(variant, IMAGE_SCORE))
    return fitted.head().eval().to(best_device())


def _in_batches(probe_set: ProbeSet) -> Iterator[list[Version]]:
    versions = track(probe_set, "scoring painted defects", len(probe_set))
    while batch := list(islice(versions, _BATCH_SIZE)):
        yield batch


@torch.inference_mode()
def _score(method: Method, heads: Sequence[Head], images: Images) -> Tensor:
    """Image scores by each head, (image, head); the distances are computed once."""
    height, width = images.shape[-2:]
    embedded = method.encoder_runner.encode(images).to(best_device())
    compared = heads[0].compare(embedded)
    maps = heads[0].anomaly_map(embedded, compared, height, width)
    scores = [head.image_score(embedded, compared, maps) for head in heads]
    return torch.stack(scores, dim=1).cpu()


def _time_images(inspector: Inspector, images: Sequence[ImageInput]) -> float:
    """Shortest time from a decoded image to its verdict, in milliseconds."""
    decoded = [decode(image) for image in images]
    inspector.inspect(decoded[0])  # makes what is made on first use
    seconds = []
    for image in decoded:
        started = time.perf_counter()
        inspector.inspect(image)
        seconds.append(time.perf_counter() - started)
    return 1000 * min(seconds)
