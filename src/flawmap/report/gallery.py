"""The worst images of an evaluation or inspection, as thumbnails, in bounded memory."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from flawmap.render.encode import encode_image
from flawmap.render.heatmap import draw_mask_outline, overlay
from flawmap.runtime.image_types import ImageArray, ImageU8, Mask
from flawmap.runtime.inference import Inspection
from flawmap.runtime.preprocess import resize, to_uint8
from flawmap.runtime.record import Record

_THUMBNAIL_SIDE = 320
"""The longer side of a thumbnail, in pixels, at most."""

_JPEG_QUALITY = 80
"""As small as WebP of like quality, and encoded forty times as fast."""


@dataclass(frozen=True, eq=False)
class Card:
    """One image of the gallery.

    Args:
        record: the inspected image as a row.
        image: a JPEG thumbnail, its longer side up to `_THUMBNAIL_SIDE` pixels.
        overlay: likewise, under the heat map.
        truth_outline: likewise, with an outline around the true defect; None without a mask that
            marks something.
    """

    record: Record
    image: bytes
    overlay: bytes
    truth_outline: bytes | None


class Gallery:
    """Collects the worst of any number of images, in bounded memory.

    The worst is a defective image far below the threshold, or a good one far beyond it; where the
    truth is not known, one with a high score.

    Args:
        capacity: how many images are kept.
        min_area: regions of fewer pixels are not marked in overlays.

    Attributes:
        omitted: how many images were added and are not kept.

    Example:
        >>> gallery = Gallery(capacity=500)
        >>> gallery.cards(), gallery.omitted
        ([], 0)
    """

    def __init__(self, capacity: int = 500, min_area: int = 0) -> None:
        self.omitted = 0
        self._capacity = capacity
        self._min_area = min_area
        self._added = 0
        self._kept: list[tuple[float, int, Card]] = []

    def add(
        self,
        record: Record,
        inspection: Inspection,
        mask: Mask | None = None,
        painted: ImageU8 | None = None,
    ) -> None:
        """Add an image; thumbnails are made only if it is kept.

        Args:
            record: the image's record; one without a score is ignored.
            inspection: what the record was made of.
            mask: true where the image is defective, (height, width), where that is known.
            painted: the image under its heat map, where that has been painted already.
        """
        if record.score is None:
            return
        self._added += 1
        rank = (_badness(record), -self._added)
        is_full = len(self._kept) >= self._capacity
        self.omitted += is_full
        if is_full and (not self._kept or rank < self._kept[0][:2]):
            return
        entry = (*rank, self._card(record, inspection, mask, painted))
        if is_full:
            heapq.heapreplace(self._kept, entry)
        else:
            heapq.heappush(self._kept, entry)

    def cards(self) -> list[Card]:
        """The images that are kept, the worst first."""
        ordered = sorted(self._kept, key=lambda entry: entry[:2], reverse=True)
        return [card for _, _, card in ordered]

    def _card(
        self, record: Record, inspection: Inspection, mask: Mask | None, painted: ImageU8 | None
    ) -> Card:
        image, verdict = inspection.image, inspection.verdict
        if image is None or verdict is None:
            raise ValueError(f"{record.image}: the record has a score, its inspection has none")
        if painted is None:
            painted = overlay(image, verdict, self._min_area)
        thumbnail = to_uint8(_shrink(image))
        outline = None if mask is None or not mask.any() else _truth_outline(thumbnail, mask)
        return Card(record, _jpeg(thumbnail), _jpeg(_shrink(painted)), outline)


def _truth_outline(thumbnail: ImageU8, mask: Mask) -> bytes:
    # As floats, of which the mean over an area is above 0 as soon as one pixel is: no defect is too
    # small to be seen.
    return _jpeg(draw_mask_outline(thumbnail, _shrink(mask.astype(np.float32)) > 0))


def _shrink(image: np.ndarray) -> ImageArray | np.ndarray:
    factor = min(1, _THUMBNAIL_SIDE / max(image.shape[:2]))
    height, width = (max(1, round(side * factor)) for side in image.shape[:2])
    return resize(image, height, width)


def _jpeg(image: ImageU8) -> bytes:
    return encode_image(image, ".jpg", jpeg_quality=_JPEG_QUALITY)


def _badness(record: Record) -> float:
    score, threshold = record.score or 0.0, record.threshold or 0.0
    excess = score / max(threshold, float(np.finfo(float).tiny)) - 1
    return -excess if record.truth == "defective" else excess
