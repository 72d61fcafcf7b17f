"""The result of inspecting one image: score, p-value, heat map, regions."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, Int

from flawmap.runtime.mask import Counting

Heatmap = Float[np.ndarray, "height width"]
"""How unlike good parts each pixel is: (height, width) of the image, float32, >= 0; 1 is the map
limit, which good parts reach anywhere at the chosen budget of false rejects."""

Outline = Int[np.ndarray, "_corner 2"]
"""Corners of a closed polygon, (corner, 2): x and y in pixels from the image's top-left corner."""

_LARGEST_PEAK = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class Region:
    """Connected pixels of an image whose heat map exceeds 1, the limit of good parts.

    Args:
        x: left edge of the box, in pixels from the image's left edge.
        y: upper edge of the box, in pixels from the image's upper edge.
        width: of the box, in pixels.
        height: of the box, in pixels.
        area: number of pixels in the region.
        peak: highest value of the heat map in the region, > 1.
        outline: corners of its outer border, (corner, 2): x and y in pixels.

    Example:
        >>> outline = np.array([[20, 10], [20, 11]])
        >>> region = Region(20, 10, 1, 2, area=2, peak=1.8, outline=outline)
        >>> region.to_dict()["outline"]
        [[20, 10], [20, 11]]
    """

    x: int
    y: int
    width: int
    height: int
    area: int
    peak: float
    outline: Outline

    def to_dict(self) -> dict[str, Any]:
        """All fields by name, ready for JSON; the peak with four decimals.

        Returns:
            Whole numbers for box and area, and the outline as a list of [x, y].
        """
        return {
            "x": self.x,
            "y": self.y,
            "width": self.width,
            "height": self.height,
            "area": self.area,
            # JSON has no infinity.
            "peak": round(min(self.peak, _LARGEST_PEAK), 4),
            "outline": self.outline.tolist(),
        }


@dataclass(frozen=True)
class ZoneVerdict:
    """What a zone says of one image: a part of it that the user named, with a budget of its own.

    Args:
        name: of the zone.
        score: how unlike good parts it is, a distance >= 0 without a unit.
        threshold: score beyond which a part is rejected for this zone.
        p_value: fraction of good parts that would score at least as high in it, 0…1.
        reject: whether the score exceeds the threshold.

    Example:
        >>> ZoneVerdict("bore", score=3.0, threshold=2.0, p_value=0.01, reject=True).excess
        1.5
    """

    name: str
    score: float
    threshold: float
    p_value: float
    reject: bool

    @property
    def excess(self) -> float:
        """The score as a multiple of the threshold, so that zones compare."""
        return self.score / self.threshold


@dataclass(frozen=True, eq=False)
class Verdict:
    """The result of inspecting one image.

    Where there are zones, score, p-value and verdict are those of the zone whose score is the
    largest multiple of its threshold; any zone that rejects rejects the part.

    Args:
        score: image score: how unlike good parts the image is, a distance >= 0 without a unit.
        p_value: fraction of good parts that would score at least as high, 0…1; small is suspicious.
        reject: whether the score exceeds the threshold of the chosen budget.
        heatmap: where the image differs, (height, width) of the image, >= 0; 1 is the limit of
            good parts, 0 what does not count.
        counting: which pixels of the image count, (height, width); None where all do, for want of a
            mask.
        zone: name of the zone that decides; empty without zones.
        by_zone: what each zone says; empty without zones.

    Example:
        >>> heatmap = np.zeros((9, 9), np.float32)
        >>> heatmap[4:6, 4:6] = 1.5
        >>> verdict = Verdict(score=2.5, p_value=0.01, reject=True, heatmap=heatmap)
        >>> [region.area for region in verdict.regions()]
        [4]
    """

    score: float
    p_value: float
    reject: bool
    heatmap: Heatmap
    counting: Counting | None = None
    zone: str = ""
    by_zone: tuple[ZoneVerdict, ...] = ()

    @classmethod
    def of_zones(
        cls, by_zone: tuple[ZoneVerdict, ...], heatmap: Heatmap, counting: Counting | None = None
    ) -> Verdict:
        """The verdict of the zone whose score is the largest multiple of its threshold.

        Args:
            by_zone: what each zone says, one or more.
            heatmap: 1 is everywhere the limit of the zone there.
            counting: which pixels of the image count.

        Example:
            >>> face = ZoneVerdict("face", 3.0, threshold=4.0, p_value=0.1, reject=False)
            >>> bore = ZoneVerdict("bore", 2.0, threshold=1.0, p_value=0.01, reject=True)
            >>> Verdict.of_zones((face, bore), np.zeros((9, 9), np.float32)).zone
            'bore'
        """
        # A multiple can be rounded to 1, and the zone rejects all the same.
        zone = max(by_zone, key=lambda one: (one.reject, one.excess))
        return cls(zone.score, zone.p_value, zone.reject, heatmap, counting, zone.name, by_zone)

    @property
    def zone_threshold(self) -> float | None:
        """Threshold of the zone that decides; None without zones."""
        return next((one.threshold for one in self.by_zone if one.name == self.zone), None)

    def regions(self, min_area: int = 0) -> list[Region]:
        """The regions that exceed the limit of good parts, the most anomalous first.

        Pixels that touch at a corner belong to one region.

        Args:
            min_area: regions of fewer pixels are omitted.
        """
        return [region for region in self._regions if region.area >= min_area]

    def to_dict(self, min_area: int = 0) -> dict[str, Any]:
        """The verdict ready for JSON: all but the heat map, which is an image of its own.

        Args:
            min_area: regions of fewer pixels are omitted.

        Returns:
            `score`, `p_value`, `verdict` (`good` or `reject`) and `regions`, as in a `Record`;
            where there are zones also `zone` and `by_zone`.

        Example:
            >>> Verdict(2.5, 0.01, True, np.zeros((9, 9), np.float32)).to_dict()
            {'score': 2.5, 'p_value': 0.01, 'verdict': 'reject', 'regions': []}
        """
        zones = {"zone": self.zone, "by_zone": [asdict(zone) for zone in self.by_zone]}
        return {
            "score": self.score,
            "p_value": self.p_value,
            "verdict": "reject" if self.reject else "good",
            "regions": [region.to_dict() for region in self.regions(min_area)],
            **(zones if self.by_zone else {}),
        }

    # The record, the overlay and the page each ask.
    @cached_property
    def _regions(self) -> list[Region]:
        exceeds = self.heatmap > 1
        rows, columns = np.flatnonzero(exceeds.any(axis=1)), np.flatnonzero(exceeds.any(axis=0))
        if not rows.size:
            return []
        # Labels take four bytes a pixel, so only where there is something to label.
        top, left = int(rows[0]), int(columns[0])
        window = np.s_[top : rows[-1] + 1, left : columns[-1] + 1]
        part = np.ascontiguousarray(exceeds[window]).view(np.uint8)
        count, labels, boxes, _ = cv2.connectedComponentsWithStats(part, connectivity=8)
        heatmap = self.heatmap[window]
        regions = [_region(heatmap, labels, n, boxes[n], (left, top)) for n in range(1, count)]
        return sorted(regions, key=lambda region: -region.peak)


def _region(
    heatmap: Heatmap, labels: np.ndarray, label: int, box: np.ndarray, corner: tuple[int, int]
) -> Region:
    """The region of a label; box, heat map and labels begin at a corner (x, y) of the image."""
    x, y, width, height, area = (int(side) for side in box)
    window = np.s_[y : y + height, x : x + width]
    x, y = x + corner[0], y + corner[1]
    inside = labels[window] == label
    outlines, _ = cv2.findContours(
        inside.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=(x, y)
    )
    peak = float(heatmap[window][inside].max())
    return Region(x, y, width, height, area, peak, outlines[0][:, 0])
