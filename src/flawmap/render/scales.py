"""Two colour scales for what a method sees in an image: of a test set, and of good parts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import cv2
import numpy as np

from flawmap.render.grid import ColourBar
from flawmap.render.heatmap import COLOUR_MAX, COLOUR_MIN, colourise, draw_label, overlay
from flawmap.runtime.image_types import ImageU8
from flawmap.runtime.preprocess import resize
from flawmap.runtime.verdict import Heatmap, Verdict


class ValueRange(NamedTuple):
    """The smallest and the largest value over a whole test set.

    Args:
        low: the smallest value.
        high: the largest value, >= `low`.

    >>> ValueRange(2.0, 6.0).level(np.array([[2, 5, 9]], np.float32))
    array([[0.  , 0.75, 1.  ]], dtype=float32)
    """

    low: float
    high: float

    def level(self, values: Heatmap) -> Heatmap:
        """The values brought to 0…1, those beyond to its ends; all 0 where the range is a point.

        Args:
            values: (height, width), in the unit of the range.
        """
        width = self.high - self.low
        if width <= 0:
            return np.zeros_like(values)
        return np.asarray(np.clip((values - self.low) / width, 0, 1))


def _colourise_jet(level: Heatmap) -> ImageU8:
    """The colours of values in 0…1, from dark blue over green to dark red.

    Args:
        level: (height, width), 0…1.

    >>> _colourise_jet(np.array([[0, 0.5, 1]], np.float32)).tolist()
    [[[0, 0, 128], [130, 255, 126], [128, 0, 0]]]
    """
    steps = np.rint(255 * level).astype(np.uint8)
    return np.ascontiguousarray(cv2.applyColorMap(steps, cv2.COLORMAP_JET)[:, :, ::-1])


_RAMP = np.linspace(0, 1, 256, dtype=np.float32)[None]


@dataclass(frozen=True, eq=False)
class DatasetScale:
    """A view on the scale of a test set, as the paper shows it.

    Jet, from the least anomalous pixel of all to the most anomalous. Only to be looked at: it takes
    a whole test set, and its defects, to know the scale.

    Args:
        heatmap: anomaly map of the image, (height, width).
        score: of the image.
        heatmaps: range of the values of all test images, by this method.
        scores: range of the scores of all test images, by this method.
    """

    heatmap: Heatmap
    score: float
    heatmaps: ValueRange
    scores: ValueRange

    colour_bar: ClassVar[ColourBar] = ColourBar(
        _colourise_jet(_RAMP), "least anomalous in the test set", "", "most anomalous"
    )

    def draw(self, image: ImageU8) -> ImageU8:
        """The image half and half with its colours, the score 0.00…1.00 in the top-left corner.

        Args:
            image: RGB, of any size.
        """
        colours = _colourise_jet(resize(self.heatmaps.level(self.heatmap), *image.shape[:2]))
        blended = np.rint(0.5 * image + 0.5 * colours).astype(np.uint8)
        score = self.scores.level(np.full((1, 1), self.score)).item()
        return draw_label(blended, f"{score:.2f}")


@dataclass(frozen=True, eq=False)
class CalibratedScale:
    """A view on the scale that good parts set, the same for all methods and images.

    See `heatmap.overlay`.

    Args:
        verdict: on the image.
    """

    verdict: Verdict

    colour_bar: ClassVar[ColourBar] = ColourBar(
        colourise(COLOUR_MIN + (COLOUR_MAX - COLOUR_MIN) * _RAMP),
        "like good parts",
        "limit of good parts",
        "beyond it",
    )

    def draw(self, image: ImageU8) -> ImageU8:
        """The image under the verdict's heat map.

        Args:
            image: RGB, of any size.
        """
        heatmap = resize(self.verdict.heatmap, *image.shape[:2])
        return overlay(image, replace(self.verdict, heatmap=heatmap))
