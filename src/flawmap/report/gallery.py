"""The most telling images of an evaluation or inspection, in bounded memory."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from flawmap.data.sample import GOOD
from flawmap.render.heatmap import draw_mask_outline, overlay
from flawmap.runtime.preprocess import ImageArray, ImageU8, Mask, resize, to_uint8
from flawmap.runtime.verdict import Verdict

THUMBNAIL_SIDE = 320
"""The longer side of a thumbnail, in pixels, at most."""

LISTED_REGIONS = 100
"""Regions of one image that the page lists, the oddest first."""

_QUALITY = 80
"""Of JPEG: as small as WebP of like quality, and encoded forty times as fast."""


@dataclass(frozen=True)
class Card:
    """One image of the gallery.

    Args:
        path: of the image.
        kind: "good", a kind of defect, or None where the truth is not known.
        score: of its verdict.
        p_value: of its verdict.
        regions: where it lies beyond the limit of good parts, as `Region.to_json` says it.
        width: of the image, in pixels.
        height: of the image, in pixels.
        image: a JPEG thumbnail, its longer side up to `SIDE` pixels.
        overlay: likewise with the heat map.
        truth: likewise with the outline of the true defect; None without one.
    """

    path: str
    defect_type: str | None
    score: float
    p_value: float
    regions: list[dict[str, Any]]
    width: int
    height: int
    image: bytes
    overlay: bytes
    truth: bytes | None


class Gallery:
    """The most telling of any number of images, in bounded memory: the worst errors first.

    Args:
        threshold: the score beyond which a part is rejected.
        capacity: how many images are kept.

    Worst is a defect far below the threshold or a good part far beyond it; where the truth is not
    known, a high score.
    """

    def __init__(self, threshold: float, capacity: int = 500) -> None:
        self.left_out = 0
        self._threshold = threshold
        self._capacity = capacity
        self._added = 0
        self._kept: list[tuple[float, int, Card]] = []

    def add(
        self,
        path: str,
        kind: str | None,
        verdict: Verdict,
        pixels: ImageArray,
        mask: Mask | None = None,
        min_area: int = 0,
    ) -> None:
        """Show the gallery one more image; thumbnails are made only if it is kept."""
        self._added += 1
        place = (_badness(verdict.score, kind, self._threshold), -self._added)
        full = len(self._kept) >= self._capacity
        self.left_out += full
        if full and (not self._kept or place < self._kept[0][:2]):
            return
        entry = (*place, _make_card(path, kind, verdict, pixels, mask, min_area))
        if full:
            heapq.heapreplace(self._kept, entry)
        else:
            heapq.heappush(self._kept, entry)

    def cards(self) -> list[Card]:
        """List the images that were kept, the worst first."""
        return [
            card for _, _, card in sorted(self._kept, key=lambda entry: entry[:2], reverse=True)
        ]


def _make_card(
    path: str,
    kind: str | None,
    verdict: Verdict,
    pixels: ImageArray,
    mask: Mask | None,
    min_area: int,
) -> Card:
    height, width = pixels.shape[:2]
    small = to_uint8(_shrink(pixels))
    # As floats, of which the mean over an area is above 0 as soon as one pixel is: no defect is too
    # small to be seen.
    truth = (
        draw_mask_outline(small, _shrink(mask.astype(np.float32)) > 0)
        if mask is not None and mask.any()
        else None
    )
    return Card(
        path,
        kind,
        verdict.score,
        verdict.p_value,
        [region.to_dict() for region in verdict.regions(min_area)],
        width,
        height,
        _jpeg(small),
        _jpeg(_shrink(overlay(pixels, verdict, min_area))),
        None if truth is None else _jpeg(truth),
    )


def _shrink(plane: np.ndarray) -> np.ndarray:
    factor = min(1, THUMBNAIL_SIDE / max(plane.shape[:2]))
    height, width = (max(1, round(side * factor)) for side in plane.shape[:2])
    return resize(plane, height, width)


def _jpeg(image: ImageU8) -> bytes:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()


def _badness(score: float, kind: str | None, threshold: float) -> float:
    beyond = score / max(threshold, np.finfo(float).tiny) - 1
    # What is not even a number is the first thing to look at.
    return (beyond if kind in (GOOD, None) else -beyond) if math.isfinite(beyond) else math.inf
