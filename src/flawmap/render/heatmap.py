"""A heat map over its image, on one colour scale for all images, methods and products."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from flawmap.runtime.preprocess import ImageArray, ImageU8, Mask, to_uint8
from flawmap.runtime.verdict import Heatmap, Region, Verdict

COLOUR_MIN, COLOUR_MAX = 0.5, 1.5
"""The values of a heat map that get the first and the last colour.

1, the limit of good parts, is in the middle.
"""

FADE_IN, OPAQUE = 0.75, 1.25
"""The values of a heat map from which on colour comes in, and beyond which it gets no denser."""

WHITE, DARK, RED = (255, 255, 255), (30, 30, 30), (225, 40, 40)


def overlay(pixels: ImageArray, verdict: Verdict, min_area: int = 0) -> ImageU8:
    """The image under its heat map, with the score in the top-left corner.

    A reject has a red frame.

    Where a part is as good parts are, the image shows as it is; colour comes in as a pixel nears
    the limit of good parts. Turbo colours: blue is below the limit, green is the limit, red is half
    as much again and beyond. Regions beyond the limit have a white outline and a box.

    Args:
        pixels: the image.
        verdict: what was said of it.
        min_area: regions of fewer pixels are not marked.
    """
    opacity = (0.7 * np.clip((verdict.heatmap - FADE_IN) / (OPAQUE - FADE_IN), 0, 1))[:, :, None]
    blended = (to_uint8(pixels) * (1 - opacity) + colourise(verdict.heatmap) * opacity).astype(
        np.uint8
    )
    _mark(blended, verdict.regions(min_area))
    if verdict.reject:
        height, width = blended.shape[:2]
        cv2.rectangle(
            blended,
            (0, 0),
            (width - 1, height - 1),
            RED,
            thickness=max(2, min(height, width) // 80),
        )
    return draw_label(blended, f"{verdict.score:.2f}")


def _mark(image: ImageU8, regions: Sequence[Region]) -> None:
    thin = max(1, min(image.shape[:2]) // 250)
    for region in regions:
        cv2.drawContours(image, [region.outline.astype(np.int32)], -1, WHITE, thin, cv2.LINE_AA)
        corner = (region.x + region.width - 1, region.y + region.height - 1)
        cv2.rectangle(image, (region.x, region.y), corner, WHITE, thin)


def draw_mask_outline(pixels: ImageArray, mask: Mask) -> ImageU8:
    """An outline around the true defects, with a gap so that the defects stay visible."""
    image = np.ascontiguousarray(to_uint8(pixels)).copy()
    line = max(1, round(max(image.shape[:2]) / 140))
    around = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=1 + line)
    outlines, _ = cv2.findContours(around, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return cv2.drawContours(image, outlines, -1, RED, line)


def draw_label(image: ImageU8, text: str) -> ImageU8:
    """Write into the top-left corner, white with a dark outline, in a size that suits the image."""
    scale = max(0.42, min(image.shape[:2]) / 450)
    font, thickness = cv2.FONT_HERSHEY_SIMPLEX, max(1, round(1.5 * scale))
    x, y, line = 4 + int(4 * scale), 4 + int(24 * scale), max(1, round(2 * scale))
    (width, _), below = cv2.getTextSize(text, font, scale, thickness)
    image = np.ascontiguousarray(image).copy()
    corner = image[: y + below + 2 * line, : x + width + 2 * line]
    letters = np.zeros(corner.shape[:2], np.uint8)
    cv2.putText(letters, text, (x, y), font, scale, 255, thickness, cv2.LINE_AA)
    # Not drawn with a thicker pen: OpenCV 5 takes that for a bolder type, which is no outline.
    around = cv2.dilate(
        letters, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * line + 1, 2 * line + 1))
    )
    for colour, ink in ((DARK, cv2.add(around, around)), (WHITE, letters)):
        corner[:] = np.rint(
            corner + (ink[:, :, None] / 255) * (np.array(colour) - corner.astype(float))
        )
    return image


def colourise(heatmap: Heatmap) -> ImageU8:
    """Colour a heat map alone, on the fixed scale."""
    level = (255 * np.clip((heatmap - COLOUR_MIN) / (COLOUR_MAX - COLOUR_MIN), 0, 1)).astype(
        np.uint8
    )
    return np.ascontiguousarray(cv2.applyColorMap(level, cv2.COLORMAP_TURBO)[:, :, ::-1])
