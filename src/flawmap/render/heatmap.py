"""A heat map over its image, on one colour scale for all images, methods and products."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from flawmap.render.mask import dim_uncounted
from flawmap.runtime.image_types import ImageArray, ImageU8, Mask
from flawmap.runtime.images.decode import map_ahead
from flawmap.runtime.preprocess import to_uint8
from flawmap.runtime.verdict import Heatmap, Region, Verdict

COLOUR_MIN, COLOUR_MAX = 0.5, 1.5
"""The values of a heat map that get the first and the last colour.

1, the limit of good parts, is in the middle.
"""

_FADE_IN, _OPAQUE = 0.75, 1.25
"""The values of a heat map from which on colour comes in, and beyond which it gets no denser."""

_MAX_OPACITY = 0.7

_STRIP_ROWS = 64
"""Rows that are painted at once, in floats that would take twenty times an image's room."""

_MIN_STRIPS = 16
"""Images of fewer strips are painted sooner than threads would start."""

_WHITE, _DARK = (255, 255, 255), (30, 30, 30)
_RED = (225, 40, 40)
"""Of the frame of a reject, and of the outline of true defects."""


def overlay(pixels: ImageArray, verdict: Verdict, min_area: int = 0) -> ImageU8:
    """The image under its heat map, with the score in its top-left corner; a reject is framed red.

    Where a part is as good parts are, the image shows as it is; colour comes in as a pixel nears
    the limit of good parts. Turbo colours: blue is below the limit, green is the limit, red is half
    as much again and beyond. Regions beyond the limit have a white outline and a box. What does not
    count, for a mask leaves it out, is pale and hatched. Where there are zones, the name of the one
    that decides stands under the score.

    Args:
        pixels: the image, (height, width, 3), RGB of any depth.
        verdict: on the image; its heat map has the image's height and width.
        min_area: regions of fewer pixels than this are not marked.

    >>> image = np.full((64, 64, 3), 100, np.uint8)
    >>> reject = Verdict(3.2, 0.001, True, np.zeros((64, 64), np.float32))
    >>> overlay(image, reject)[-1, -1].tolist()
    [225, 40, 40]
    """
    image = to_uint8(pixels)
    if image is pixels:
        image = image.copy()
    counting = verdict.counting
    strips = [slice(top, top + _STRIP_ROWS) for top in range(0, len(image), _STRIP_ROWS)]

    def blend(strip: slice) -> None:
        _blend(image[strip], verdict.heatmap[strip])
        if counting is not None:
            dim_uncounted(image[strip], counting[strip], strip.start, min(image.shape[:2]))

    # Threads take longer to start than a small image takes.
    for _ in map(blend, strips) if len(strips) < _MIN_STRIPS else map_ahead(blend, strips):
        pass
    _mark_regions(image, verdict.regions(min_area))
    if verdict.reject:
        _draw_frame(image)
    end = _write_label(image, f"{verdict.score:.2f}")
    if verdict.zone:
        # matplotlib takes a while to import, for the fonts of all languages.
        from flawmap.render.zones import draw_zone_name

        draw_zone_name(image, verdict.zone, end)
    return image


def _blend(image: ImageU8, heatmap: Heatmap) -> None:
    """Lay the colours of a heat map over an image, in place."""
    if not (heatmap > _FADE_IN).any():
        return
    level = np.clip((heatmap - _FADE_IN) / (_OPAQUE - _FADE_IN), 0, 1)
    opacity = (_MAX_OPACITY * level)[:, :, None]
    image[:] = image * (1 - opacity) + colourise(heatmap) * opacity


def _mark_regions(image: ImageU8, regions: Sequence[Region]) -> None:
    thickness = max(1, min(image.shape[:2]) // 250)
    for region in regions:
        outline = region.outline.astype(np.int32)
        cv2.drawContours(image, [outline], -1, _WHITE, thickness, cv2.LINE_AA)
        corner = (region.x + region.width - 1, region.y + region.height - 1)
        cv2.rectangle(image, (region.x, region.y), corner, _WHITE, thickness)


def _draw_frame(image: ImageU8) -> None:
    height, width = image.shape[:2]
    thickness = max(2, min(height, width) // 80)
    cv2.rectangle(image, (0, 0), (width - 1, height - 1), _RED, thickness)


def draw_mask_outline(pixels: ImageArray, mask: Mask) -> ImageU8:
    """The image with a red outline around its true defects, a little off so that they stay visible.

    Args:
        pixels: the image, (height, width, 3), RGB of any depth; it is not changed.
        mask: (height, width), True where the part is defective.

    >>> mask = np.zeros((64, 64), bool)
    >>> mask[20:40, 20:40] = True
    >>> outlined = draw_mask_outline(np.zeros((64, 64, 3), np.uint8), mask)
    >>> bool(outlined[mask].any()), bool(outlined.any())
    (False, True)
    """
    image = np.ascontiguousarray(to_uint8(pixels)).copy()
    line = max(1, round(max(image.shape[:2]) / 140))
    square = np.ones((3, 3), np.uint8)
    around = cv2.dilate(mask.astype(np.uint8), square, iterations=1 + line)
    outlines, _ = cv2.findContours(around, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return cv2.drawContours(image, outlines, -1, _RED, line)


def draw_label(image: ImageU8, text: str) -> ImageU8:
    """The image with a text in its top-left corner, white with a dark outline.

    Args:
        image: RGB; it is not changed. Its shorter side sets the size of the text.
        text: a score, in characters of ASCII, which are all that OpenCV's font has everywhere.

    >>> image = np.full((64, 64, 3), 100, np.uint8)
    >>> bool((draw_label(image, "0.87")[32:] == 100).all())
    True
    """
    image = np.ascontiguousarray(image).copy()
    _write_label(image, text)
    return image


def _write_label(image: ImageU8, text: str) -> int:
    """Write a label into an image, in place; the row that follows it."""
    scale = max(0.42, min(image.shape[:2]) / 450)
    font = cv2.FONT_HERSHEY_SIMPLEX
    thickness = max(1, round(1.5 * scale))
    line = max(1, round(2 * scale))
    x = 4 + int(4 * scale)
    y = 4 + int(24 * scale)
    (width, _), below = cv2.getTextSize(text, font, scale, thickness)
    corner = image[: y + below + 2 * line, : x + width + 2 * line]
    letters = np.zeros(corner.shape[:2], np.uint8)
    cv2.putText(letters, text, (x, y), font, scale, 255, thickness, cv2.LINE_AA)
    # Not drawn with a thicker pen: OpenCV 5 takes that for a bolder type, which is no outline.
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * line + 1, 2 * line + 1))
    outline = cv2.dilate(letters, disc)
    _ink(corner, cv2.add(outline, outline), _DARK)
    _ink(corner, letters, _WHITE)
    return len(corner)


def _ink(image: np.ndarray, ink: np.ndarray, colour: tuple[int, int, int]) -> None:
    """Blend a colour into an image, in place, as much as there is ink (0…255)."""
    change = np.array(colour) - image.astype(float)
    image[:] = np.rint(image + (ink[:, :, None] / 255) * change)


def colourise(heatmap: Heatmap) -> ImageU8:
    """The colours of a heat map alone, on the fixed scale.

    Args:
        heatmap: (height, width), >= 0; 1 is the limit of good parts.

    >>> colourise(np.array([[0.5, 1, 1.5]], np.float32)).argmax(axis=2).tolist()
    [[2, 1, 0]]
    """
    fraction = np.clip((heatmap - COLOUR_MIN) / (COLOUR_MAX - COLOUR_MIN), 0, 1)
    level = (255 * fraction).astype(np.uint8)
    return np.ascontiguousarray(cv2.applyColorMap(level, cv2.COLORMAP_TURBO)[:, :, ::-1])
