"""Many images on one page: what a data set looks like, and where each method sees the defects.

Figures 5 and 6 of Li et al. 2025. Arrays in, one RGB image out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import cv2
import numpy as np

from flawmap.errors import OptionError
from flawmap.render.heatmap import (
    COLOUR_MAX,
    COLOUR_MIN,
    DARK,
    colourise,
    draw_label,
    draw_mask_outline,
    overlay,
)
from flawmap.render.page import Heading, Legend, Line, lay_out
from flawmap.runtime.decode import decode
from flawmap.runtime.preprocess import ImageInput, ImageU8, Mask, resize, to_uint8
from flawmap.runtime.verdict import Heatmap, Verdict


def sheet(
    rows: Sequence[Sequence[ImageU8]], titles: Sequence[str], cell: int = 224, gap: int = 6
) -> ImageU8:
    """Lay images out in rows under titles, each fitted into a square cell, on white."""
    header = 28
    height = header + len(rows) * (cell + gap)
    page = np.full((height, len(titles) * (cell + gap) + gap, 3), 255, np.uint8)
    for column, title in enumerate(titles):
        place = (gap + column * (cell + gap), header - 9)
        cv2.putText(page, title, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, DARK, 1, cv2.LINE_AA)
    for row, images in enumerate(rows):
        for column, image in enumerate(images):
            top, left = header + row * (cell + gap), gap + column * (cell + gap)
            fitted = resize_longer_side(image, cell)
            page[top : top + fitted.shape[0], left : left + fitted.shape[1]] = fitted
    return page


def resize_longer_side(image: ImageU8, cell: int) -> ImageU8:
    """Scale an image so that its longer side is `cell` pixels."""
    factor = cell / max(image.shape[:2])
    height, width = (max(1, round(side * factor)) for side in image.shape[:2])
    return resize(image, height, width)


GOOD, INPUT = "good", "input"

OPACITY = 0.5
"""Of the colours over the image, on the scale of a test set."""


class ValueRange(NamedTuple):
    """The smallest and the largest value over a whole test set."""

    low: float
    high: float

    def level(self, values: Heatmap) -> Heatmap:
        """Bring values to 0…1, those beyond to its ends; all to 0 where the span is a point."""
        width = self.high - self.low
        return np.asarray(
            np.clip((values - self.low) / width, 0, 1) if width > 0 else np.zeros_like(values)
        )


def colourise_jet(level: Heatmap) -> ImageU8:
    """Colour values in 0…1 from dark blue over green to dark red."""
    steps = np.rint(255 * level).astype(np.uint8)
    return np.ascontiguousarray(cv2.applyColorMap(steps, cv2.COLORMAP_JET)[:, :, ::-1])


_RAMP = np.linspace(0, 1, 256, dtype=np.float32)[None]


@dataclass(frozen=True, eq=False)
class DatasetScale:
    """A view on the scale of a test set, as the paper shows it.

    Jet, from the least odd pixel of all to the oddest.

    Only to be looked at: it takes a whole test set, and its defects, to know it.

    Args:
        heatmap: distance of each pixel.
        score: of the image.
        heatmaps: of all test images, by this method.
        scores: of all test images, by this method.
    """

    heatmap: Heatmap
    score: float
    heatmaps: ValueRange
    scores: ValueRange

    legend: ClassVar[Legend] = Legend(
        colourise_jet(_RAMP), "least odd in the test set", "", "oddest"
    )

    def draw(self, image: ImageU8) -> ImageU8:
        """The image half and half with its colours, the score 0.00…1.00 in the top-left corner."""
        colours = colourise_jet(resize(self.heatmaps.level(self.heatmap), *image.shape[:2]))
        blended = np.rint((1 - OPACITY) * image + OPACITY * colours).astype(np.uint8)
        score = self.scores.level(np.full((1, 1), self.score)).item()
        return draw_label(blended, f"{score:.2f}")


@dataclass(frozen=True, eq=False)
class CalibratedScale:
    """A view on the scale that good parts set, the same for all methods and images.

    See `heatmap.overlay`.
    """

    verdict: Verdict

    legend: ClassVar[Legend] = Legend(
        colourise(COLOUR_MIN + (COLOUR_MAX - COLOUR_MIN) * _RAMP),
        "as good parts are",
        "their limit",
        "beyond it",
    )

    def draw(self, image: ImageU8) -> ImageU8:
        """Lay the verdict over the image."""
        return overlay(
            image, replace(self.verdict, heatmap=resize(self.verdict.heatmap, *image.shape[:2]))
        )


View = DatasetScale | CalibratedScale
"""What one method says of one image, on either scale."""


@dataclass(frozen=True, eq=False)
class LocalisationRow:
    """One image and how each method sees it.

    Args:
        product: that it shows.
        kind: `good` or the type of its defect.
        image: decoded, RGB or grey, of any depth.
        views: one for each method.
        mask: where it is defective, in the image's size, if known.
    """

    product: str
    defect_type: str
    image: ImageInput
    views: Sequence[View]
    mask: Mask | None = None


def localisation_figure(
    cases: Sequence[LocalisationRow], methods: Sequence[str], title: str = "", cell: int = 224
) -> ImageU8:
    """Lay out a row for each case.

    The image, the true defects outlined, and what each method sees in it.

    Args:
        cases: from top to bottom.
        methods: the names over their views, from left to right.
        title: over the page.
        cell: the longer side of an image on the page, in pixels.

    Raises:
        OptionError: no cases, or one that has not as many views as there are methods.
        ImageError: an array that is no image.
    """
    if not cases:
        raise OptionError("no images to show; give one case or more")
    for case in cases:
        if len(case.views) != len(methods):
            message = (
                f"a {case.defect_type} {case.product} has {len(case.views)} views and "
                f"there are {len(methods)} methods"
            )
            raise OptionError(f"{message} ({', '.join(methods)}); give one view for each")
    lines = [_line(case, cell) for case in cases]
    legend = cases[0].views[0].legend if methods else None
    return lay_out(lines, [Heading(name) for name in (INPUT, *methods)], cell, title, legend)


def _line(case: LocalisationRow, cell: int) -> Line:
    image = _fitted(case.image, cell)
    truth = image
    if case.mask is not None:
        # As floats, of which the mean over an area is above 0 as soon as one pixel is.
        truth = draw_mask_outline(image, resize(case.mask.astype(np.float32), *image.shape[:2]) > 0)
    return Line(case.product, case.defect_type, [truth, *(view.draw(image) for view in case.views)])


def sample_figure(
    products: Mapping[str, Mapping[str, Sequence[ImageInput]]], title: str = "", cell: int = 128
) -> ImageU8:
    """Lay out a row for each product: good images, then those of each kind of defect.

    Args:
        products: images by product and kind; a product may lack a kind or have fewer images of it.
        title: over the page.
        cell: the longer side of an image on the page, in pixels.

    Raises:
        OptionError: no images.
        ImageError: an array that is no image.
    """
    kinds = {kind: 0 for images in products.values() for kind in images}
    kinds = {GOOD: 0} | kinds if GOOD in kinds else kinds
    for images in products.values():
        kinds |= {kind: max(kinds[kind], len(shown)) for kind, shown in images.items()}
    if not any(kinds.values()):
        raise OptionError("no images to show; give one or more of some product")
    headings = [Heading(kind, columns) for kind, columns in kinds.items() if columns]
    lines = []
    for product, images in products.items():
        cells: list[ImageU8 | None] = []
        for kind, columns in kinds.items():
            shown = [_fitted(image, cell) for image in images.get(kind, ())]
            cells += [*shown, *[None] * (columns - len(shown))]
        lines.append(Line(product, "", cells))
    return lay_out(lines, headings, cell, title)


def _fitted(image: ImageInput, cell: int) -> ImageU8:
    return resize_longer_side(to_uint8(decode(image)), cell)
