"""Images that are all but the same in two splits, which make an evaluation look too good.

An image's fingerprint are the coarse waves of its cosine transform. Parts in one pose look alike in
most of them, so each wave is compared not with 0 but with its median over the data set: a bit then
says how the image differs from the usual one, and half the images have it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Int

from flawmap.data.sample import Sample
from flawmap.data.splits import SPLITS, sha256_of
from flawmap.errors import ImageError
from flawmap.runtime.image_types import ImageArray
from flawmap.runtime.images.decode import decode
from flawmap.runtime.preprocess import resize
from flawmap.support.progress import track

_SMALL_SET_SIZE = 64
"""Up to so many images, each pair is compared with the median of the other images.

With few images the median moves with the pair under test, and its bits then differ by construction.
"""

_DCTFingerprints = Float[np.ndarray, "_image 255"]
"""One row per image, of length 1."""

_RowIndices = Int[np.ndarray, " _row"]
"""Which rows of the waves."""

_DCT_SIDE = 32
"""Pixels a side to which an image is brought."""

_DCT_KEPT = 16
"""Waves a side that are kept; all but the first, which is the mean: 255."""

_MAX_DISTANCE_BITS = 24
"""Bits of 255. Copies saved as JPEG of quality 60, made brighter or darker by a tenth or smaller by
a fifth differ in less; images of different parts in about half, and hardly ever in so few."""

_ROWS_PER_BLOCK = 1024
"""Rows compared at once; with 10,000 others that takes 40 MB."""


@dataclass(frozen=True)
class DuplicatePair:
    """Two images of different splits that look the same.

    Args:
        a: the one in the split that is used first: train, calibration, test.
        b: the other one.
        distance: bits in which they differ, of 255.
        same_bytes: whether the files are exact copies.
    """

    a: Sample
    b: Sample
    distance: int
    same_bytes: bool


class _Match(NamedTuple):
    first: int
    second: int
    distance: int


def near_duplicates(
    samples: Sequence[Sample], limit: int = _MAX_DISTANCE_BITS
) -> list[DuplicatePair]:
    """Images in different splits that look the same, the most alike first.

    It finds exact copies; copies saved anew, scaled or a little brighter; and often two shots of
    one part in one pose. Contrast does not count. Where parts always lie in the same pose, a shift
    by a pixel already makes another image. Of two images alone, only equal ones are found: there is
    no third one to compare them with. Images that cannot be read are skipped.

    Args:
        samples: the images of a data set, with their splits.
        limit: largest number of bits, of 255, in which a pair may differ.
    """
    if len({sample.split for sample in samples}) < 2:
        return []
    readable, waves = _read(samples)
    splits = np.array([SPLITS.index(sample.split) for sample in readable])
    match = _match_few if len(readable) <= _SMALL_SET_SIZE else _match_many
    pairs = []
    for first, second in combinations(range(len(SPLITS)), 2):
        rows = np.flatnonzero(splits == first), np.flatnonzero(splits == second)
        for a, b, distance in match(waves, *rows, limit):
            pairs.append(_pair(readable[a], readable[b], distance))
    return sorted(pairs, key=lambda pair: (pair.distance, pair.a.path, pair.b.path))


def _read(samples: Sequence[Sample]) -> tuple[list[Sample], _DCTFingerprints]:
    readable = []
    waves = [np.empty((0, _DCT_KEPT**2 - 1), np.float32)]
    for sample in track(samples, "comparing images", len(samples)):
        try:
            waves.append(_waves(decode(sample.path)))
        except ImageError:
            continue
        readable.append(sample)
    return readable, np.concatenate(waves)


def _waves(pixels: ImageArray) -> _DCTFingerprints:
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    small = np.ascontiguousarray(resize(grey, _DCT_SIDE, _DCT_SIDE))
    spectrum = cv2.dct(small - small.mean())
    waves = spectrum[:_DCT_KEPT, :_DCT_KEPT].reshape(1, -1)[:, 1:]
    # Without the length a brighter copy of a part that always looks much the same lands far from
    # it.
    return np.asarray(waves / max(float(np.linalg.norm(waves)), 1e-6), np.float32)


def _match_many(
    waves: _DCTFingerprints, first: _RowIndices, second: _RowIndices, limit: int
) -> Iterator[_Match]:
    bits = np.where(waves > np.median(waves, axis=0), np.float32(1), np.float32(-1))
    for start in range(0, len(first), _ROWS_PER_BLOCK):
        block = first[start : start + _ROWS_PER_BLOCK]
        # Bits that agree add 1 to the product, the others take 1 away.
        distances = (bits.shape[1] - bits[block] @ bits[second].T) / 2
        for row, column in np.argwhere(distances <= limit):
            distance = round(float(distances[row, column]))
            yield _Match(int(block[row]), int(second[column]), distance)


def _match_few(
    waves: _DCTFingerprints, first: _RowIndices, second: _RowIndices, limit: int
) -> Iterator[_Match]:
    for a in first.tolist():
        for b in second.tolist():
            others = np.delete(waves, [a, b], axis=0)
            usual = np.median(others, axis=0) if len(others) else waves[a]
            distance = int(np.count_nonzero((waves[a] > usual) != (waves[b] > usual)))
            if distance <= limit:
                yield _Match(a, b, distance)


def _pair(a: Sample, b: Sample, distance: int) -> DuplicatePair:
    same_bytes = distance == 0 and _sha256(a) == _sha256(b)
    return DuplicatePair(a, b, distance, same_bytes)


def _sha256(sample: Sample) -> str:
    return sample.sha256 or sha256_of(sample.path)
