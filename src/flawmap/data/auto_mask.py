"""Where the part lies in good images of it, against a plain background.

Otsu's threshold (1979), on how far each pixel is from the colour of the image's border, tells part
from background; gaps are closed, holes filled, crumbs dropped. A part that does not lie alike
counts wherever it lies in some image, and with a margin, so that its outline counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float

from flawmap.errors import ImageError
from flawmap.runtime.image_types import ImageArray, ImageInput
from flawmap.runtime.images.decode import decode, map_ahead
from flawmap.runtime.mask import Counting, PartMask
from flawmap.runtime.preprocess import resize, to_uint8
from flawmap.support.progress import track

_MAX_LOOKED_AT = 32
"""Most images that are looked at: enough to see how a part moves."""

_WORKING_SIDE = 512
"""The longer side that images are reduced to, and that of the mask, in pixels."""

_SURELY_PART = 64
"""Grey levels from the background that are as good as more, so that a bright print on a dark part
does not take the part for background."""

_MIN_DIFFERENCE = 12
"""The part differs from the background by more grey levels than that."""

_MIN_SEPARATION = 0.7
"""Of the variance of the differences, the share that lies between part and background; a smear
without two levels has 0.64 to 0.75."""

_MAX_UNEVENNESS = 8.0
"""Mean difference of a background from its own median, in grey levels; what varies more is not
plain."""

_MIN_BORDER_SHARE = 0.5
"""Of an image's border, the least that is background, so that its median is."""

_MIN_PART, _MAX_PART = 0.05, 0.95
"""Share of an image that a part takes up: less is a mark on a part that fills it, and beyond it
there is nothing to leave out."""

_MIN_CRUMB = 0.002
"""What takes up less of an image, apart from all else, is dirt in the background."""

_MARGIN = 0.02
"""Of the shorter side: as far around the part, the background counts, so that its outline does;
and gaps of twice that are closed."""

_MIN_FOUND = 0.8
"""Share of the images that must show a background of one aspect."""

_Levels = Float[np.ndarray, "_height _width"]


class ChosenMask(NamedTuple):
    """What counts in images, and why.

    Args:
        mask: None where all of an image counts.
        reason: in words, for the user.
    """

    mask: PartMask | None
    reason: str


def find_mask(images: Sequence[ImageInput], white: int | None = None) -> ChosenMask:
    """Where the part lies in good images, all of them together, with a margin.

    Args:
        images: good images; of more than 32, so many are looked at, evenly spread.
        white: the level of white in images of 16 bits; None for 65535.

    Returns:
        No mask where the images show no plain background, and the reason.

    Example:
        >>> image = np.full((100, 150, 3), 20, np.uint8)
        >>> image[30:70, 50:100] = 180
        >>> found = find_mask([image] * 3)
        >>> found.reason
        'the part against its background in 3 of 3 good images'
    """
    count = min(len(images), _MAX_LOOKED_AT)
    looked_at = [images[index * len(images) // count] for index in range(count)]
    looked = track(
        map_ahead(partial(_look, white), looked_at), "looking for the part", len(looked_at)
    )
    parts = [part for part in looked if part is not None]
    if not parts:
        return ChosenMask(None, "none of the good images can be read")
    first = PartMask.of(np.ones(parts[0].shape, bool))
    shapes = [part.shape for part in parts]
    alike = [part for part in parts if first.fits(*part.shape)]
    found = [part for part in alike if part.any()]
    if len(alike) < _MIN_FOUND * len(parts):
        sizes = f"{len(set(shapes))} sizes"
        return ChosenMask(None, f"the good images have different aspects ({sizes} when reduced)")
    if len(found) < _MIN_FOUND * len(parts):
        without = f"{len(parts) - len(found)} of {len(parts)}"
        return ChosenMask(None, f"{without} good images show no plain background around a part")
    part = _with_margin(_union(found, parts[0].shape))
    if part.mean() > _MAX_PART:
        return ChosenMask(None, f"the part takes up {part.mean():.0%} of the good images")
    reason = f"the part against its background in {len(found)} of {len(parts)} good images"
    return ChosenMask(PartMask.of(part), reason)


def _look(white: int | None, image_input: ImageInput) -> Counting | None:
    """The part in an image, nothing where none is found; None for what cannot be read."""
    try:
        image = decode(image_input, white)
    except ImageError:
        return None
    height, width = image.shape[:2]
    scale = min(_WORKING_SIDE / max(height, width), 1)
    rows, columns = (max(round(side * scale), 1) for side in (height, width))
    return find_part(resize(to_uint8(image), rows, columns))


def find_part(image: ImageArray) -> Counting:
    """The part in one image, with its holes; nothing where there is no plain background.

    Args:
        image: decoded, of 8 bits, some hundred pixels a side.

    Example:
        >>> image = np.full((100, 150, 3), 20, np.uint8)
        >>> image[30:70, :100] = 180
        >>> round(float(find_part(image).mean()), 2)
        0.27
    """
    nothing = np.zeros(image.shape[:2], bool)
    smooth = cv2.medianBlur(image, 3).astype(np.float32)
    border = _border(nothing.shape)
    difference = np.abs(smooth - np.median(smooth[border], axis=0)).max(axis=2)
    levels = np.minimum(difference, _SURELY_PART).astype(np.uint8)
    otsu, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    part = levels > max(otsu, _MIN_DIFFERENCE)
    if not _is_plain(levels, part, border):
        return nothing
    part = _filled(part)
    return part if part.mean() >= _MIN_PART else nothing


def _is_plain(levels: np.ndarray, part: Counting, border: Counting) -> bool:
    """Whether what is no part is a plain background, which the part stands out from."""
    share = part.mean()
    if not 0 < share < 1 or part[border].mean() > 1 - _MIN_BORDER_SHARE:
        return False
    background = levels[~part].mean()
    between = share * (1 - share) * (levels[part].mean() - background) ** 2
    return bool(background <= _MAX_UNEVENNESS and between >= _MIN_SEPARATION * levels.var())


def _border(shape: tuple[int, ...]) -> Counting:
    margin = max(min(shape) // 50, 1)
    border = np.ones(shape, bool)
    border[margin:-margin, margin:-margin] = False
    return border


def _filled(part: Counting) -> Counting:
    """The part without gaps, holes and crumbs."""
    height, width = part.shape
    reach = _reach(part.shape)
    # The frame repeats beyond itself, or gaps at it would stay open.
    padded = np.pad(part.astype(np.uint8), 2 * reach, "edge")
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, _disc(reach))
    opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    inner = opened[2 * reach :, 2 * reach :][:height, :width]
    outlines, _ = cv2.findContours(inner, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    large = [line for line in outlines if cv2.contourArea(line) >= _MIN_CRUMB * part.size]
    return np.asarray(cv2.drawContours(np.zeros_like(inner), large, -1, (1,), cv2.FILLED) > 0)


def _union(parts: Sequence[Counting], shape: tuple[int, ...]) -> Counting:
    """Wherever the part lies in some image, in the first one's size."""
    height, width = shape
    union = np.zeros(shape, bool)
    for part in parts:
        union |= PartMask.of(part).at(height, width)
    return union


def _with_margin(part: Counting) -> Counting:
    return np.asarray(cv2.dilate(part.astype(np.uint8), _disc(_reach(part.shape))) > 0)


def _reach(shape: tuple[int, ...]) -> int:
    return max(round(_MARGIN * min(shape)), 1)


def _disc(radius: int) -> np.ndarray:
    size = (2 * radius + 1, 2 * radius + 1)
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, size)
